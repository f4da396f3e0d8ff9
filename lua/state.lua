-- state.lua: what is stored of a policy. Between algorithms.lua and admit.lua.
--
-- A state is '<algorithm>:<at>:<window>:<capacity>:<change>:<x>:<y>:<z>': the capacity and the window that it
-- was written under, and what its algorithm makes of the rest; then ':<generation>' if it has a frame (batch.lua), whose
-- charges leave the state as it is, `at` with it. Holds are a sorted set: '<units>:<id>' by the
-- time when it ends, and 'held', whose score is minus the sum of all units. What cannot be read, whatever its
-- type, counts as nothing and is replaced at the next write, so that damage never locks anybody out. The count of a
-- frame (batch.lua) ends with the state, and whatever writes the state ends the frame, or makes a new one.
-- TTL    PEXPIREAT of the moment when a key cannot matter any more, set with every write.

-- carried returns what the units in use come to after the capacity or the rate was changed.
local function carried(p, s, used)
  if s.change == PROPORTIONAL then return math.min(share(used, p.capacity, s.capacity), 2 * LIMIT) end
  if s.change == ADDITIVE then
    return math.max(math.min(used, s.capacity) - math.max(s.capacity - p.capacity, 0), 0)
  end
  return s.change == RESET and 0 or used
end

-- counted brings a state that has a frame to what its count says. Where that is lost, what the state knew of it stays.
local function counted(p, s, generation)
  local value = redis.pcall('GET', p.count)
  value = type(value) == 'string' and integer(value, 0, TIME)
  if not value or math.floor(value / FRAME) ~= generation then return end
  s.framed, value = generation, value % FRAME
  if p.kind == 'g' then s.y, s.z = value, 0 else s.x = value end
end

-- stored reads the state of a policy, or returns nothing.
local function stored(p)
  local value = redis.pcall('GET', p.key)
  p.counts = type(value) == 'table'
  if type(value) ~= 'string' then return end
  local kind, at, window, capacity, change, x, y, z, generation =
    string.match(value, '^(%a):(%d+):(%d+):(%d+):(%d):(%d+):(%d+):(%d+):?(%d*)$')
  p.counts = generation ~= '' -- or damaged: it may have a frame
  if kind ~= p.kind then return end
  local s = {
    at = integer(at, 0, TIME), window = integer(window, 1, WINDOW), capacity = integer(capacity, 1, LIMIT),
    change = integer(change, KEEP, RESET), x = integer(x, 0, 2 * LIMIT), y = integer(y, 0, 2 * LIMIT), z = integer(z, 0, WINDOW),
  }
  if not (s.at and s.window and s.capacity and s.change and s.x and s.y and s.z) then return end
  if generation ~= '' then counted(p, s, tonumber(generation)) end
  if s.capacity == p.capacity and s.window == p.window and (kind ~= 'g' or s.x == p.limit) then
    s.change = KEEP
  else
    s.change = p.change or s.change
  end
  return p.algorithm.open(p, s) or nil
end

-- gone are the ends of the holds that do not count any more: those that have passed, and those so late that the
-- hold would begin a longest lease in the future, which only a clock that was set back can leave.
local gone = { { '1', string.format('%.0f', now) }, { string.format('(%.0f', now + 2 * LEASE), '+inf' } }

-- forgotten returns the units of the holds that are gone, and how many these are.
local function forgotten(p)
  local units, n = 0, 0
  for _, ends in ipairs(gone) do
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', p.holds, ends[1], ends[2])) do
      units, n = units + (integer(string.match(member, '^%d+') or '', 0, LIMIT) or 0), n + 1
    end
  end
  return units, n
end

-- load returns the state of a policy as it is now: the units `used`, and besides those `held`.
local function load(p)
  local s = p.kind ~= 'h' and stored(p)
  if not s then
    s = p.algorithm.start(p)
    s.capacity, s.change, s.ends = p.capacity, KEEP, now
  end
  s.counted = p.algorithm.used(s)
  s.used, s.held, s.gone = carried(p, s, s.counted), 0, 0
  if p.holds then
    local sum = redis.pcall('ZSCORE', p.holds, 'held')
    local units = type(sum) == 'string' and integer(-tonumber(sum), 0, LIMIT)
    s.damaged = not units
    if units then
      local freed
      freed, s.gone = forgotten(p)
      s.held = math.max(units - freed, 0)
    end
  end
  return s
end

-- frame has a state keep its frame with the next write, or begin one, if it is one that can have one: that was changed
-- by nothing, and of few enough units. A bucket's is kept for a second, so that `at` is never much older than a charge.
local function frame(p, s)
  local limit, start = p.capacity, s.start
  if p.kind == 'g' then
    limit, start = p.capacity * p.window / math.max(p.limit, 1), 0
    if p.window % math.max(p.limit, 1) > 0 or s.current > 0 then return end
  elseif p.kind == 's' then
    start = now - now % p.window
  end
  if s.capacity ~= p.capacity or s.change ~= KEEP or s.window ~= p.window or p.kind ~= 'g' and s.start ~= start
    or limit > FRAMED or s.current > FRAMED or p.kind == 's' and s.previous > FRAMED then
    return
  end
  if p.kind ~= 'g' then
    s.generation = generation(p.mark, p.kind == 's' and s.previous or start)
  elseif s.framed and s.framed == generation(p.mark, s.at) and now >= s.at and now < s.at + 1000000 then
    s.generation = s.framed
  else
    s.generation = generation(p.mark, now)
  end
end

-- set_count writes the count of a frame, and returns what the state is kept for: a bucket's is filled further by
-- charges that do not write the state.
local function set_count(p, s)
  local count, ends = s.current, s.ends
  s.before = p.kind == 's' and s.previous or s.start
  if p.kind == 'g' then
    count, s.before, ends = s.start - s.at, s.at, now + LATEST + p.capacity * p.window / p.limit
  end
  redis.call('SET', p.count, string.format('%.0f', s.generation * FRAME + count), 'PXAT', string.format('%.0f', math.ceil(ends / 1000)))
  return ends
end

-- add takes units, or gives back some that were taken at a time.
local function add(p, s, units, at)
  if s.used ~= s.counted then p.algorithm.fill(p, s, s.used) end
  local x, y, z = p.algorithm.add(p, s, units, at)
  s.used = p.algorithm.used(s)
  s.counted, s.capacity, s.change = s.used, p.capacity, KEEP
  if p.counts and not s.generation then redis.call('DEL', p.count) end
  if s.used == 0 then
    redis.call('DEL', p.key)
  else
    local ends = s.generation and set_count(p, s) or s.ends
    redis.call('SET', p.key,
      string.format('%s:%.0f:%.0f:%.0f:%d:%.0f:%.0f:%.0f', p.kind, s.at, p.window, p.capacity, p.change or KEEP, x, y, z)
        .. (s.generation and string.format(':%.0f', s.generation) or ''),
      'PXAT', string.format('%.0f', math.ceil(ends / 1000)))
  end
end

-- member is what stands for a hold.
local function member(units, id) return string.format('%.0f:', units) .. id end -- %s would cut an id at a zero byte

-- sweep removes the holds that are gone.
local function sweep(p, s)
  if s.damaged then redis.call('DEL', p.holds) end
  if s.gone == 0 then return end
  for _, ends in ipairs(gone) do redis.call('ZREMRANGEBYSCORE', p.holds, ends[1], ends[2]) end
end

-- set_held writes the sum of what is held, and when the last hold ends.
local function set_held(p, s, units)
  s.held = units
  if units == 0 then
    redis.call('DEL', p.holds)
    return
  end
  redis.call('ZADD', p.holds, string.format('%.0f', -units), 'held')
  local last = redis.call('ZRANGE', p.holds, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIREAT', p.holds, string.format('%.0f', math.ceil(tonumber(last) / 1000)))
end

-- hold holds units under an id. Again under the same id it only lasts longer.
local function hold(p, s, units, id)
  sweep(p, s)
  local new = redis.call('ZADD', p.holds, string.format('%.0f', now + p.lease), member(units, id)) == 1
  set_held(p, s, new and s.held + units or s.held)
end

-- holding returns whether units are held under an id.
local function holding(p, units, id)
  local ends = redis.pcall('ZSCORE', p.holds, member(units, id))
  return type(ends) == 'string' and tonumber(ends) > now and tonumber(ends) <= now + 2 * LEASE
end

-- release ends a hold.
local function release(p, s, units, id)
  sweep(p, s)
  redis.call('ZREM', p.holds, member(units, id))
  set_held(p, s, math.max(s.held - units, 0))
end

-- bounded returns a policy with its capacity, or nothing where it is out of its bounds. A bucket has to leak empty
-- within the longest window, which keeps all its products and quotients exact.
local function bounded(p)
  p.capacity = p.limit
  if p.kind == 'g' then
    p.capacity = p.limit > 0 and p.extra or 0
    if not p.extra or p.extra > LIMIT or p.limit > WINDOW or p.limit > 0 and p.extra * p.window > p.limit * WINDOW then return end
  end
  return p
end

-- policy reads one (admit.lua, POLICY), or returns nothing where a number is out of its bounds.
local function policy()
  local p = { key = next_key(), kind = next_arg() }
  p.count = p.kind ~= 'h' and next_key() or nil
  p.algorithm = algorithms[p.kind]
  p.limit, p.window = integer(next_arg(), 0, LIMIT), integer(next_arg(), 1, WINDOW)
  local extra, change, lease = next_arg(), next_arg(), next_arg()
  p.extra, p.change, p.lease = integer(extra, 0, TIME), integer(change, KEEP, RESET), integer(lease, 0, LEASE)
  p.units, p.role = integer(next_arg(), 0, LIMIT), integer(next_arg(), 0, LIMIT)
  p.holds = lease ~= '-' and (p.kind == 'h' and p.key or next_key()) or nil
  if not (p.algorithm and p.limit and p.window and p.units and p.role) or not p.extra and extra ~= '-'
    or not p.change and change ~= '-' or not p.lease and lease ~= '-' or p.kind == 'h' and (p.lease or 0) == 0 then
    return
  end
  return bounded(p)
end
