-- state.lua: what is stored of a policy. Between algorithms.lua and plain.lua.
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

-- read reads what may be damaged: an error if it is of another type. What is refused otherwise, as to a user who may not
-- read, is no damage, and ends the call before anything is written; or a limit would begin anew with each request.
local function read(command, ...)
  local value = redis.pcall(command, ...)
  if type(value) == 'table' and value.err and not value.err:find('WRONGTYPE', 1, true) then return redis.call(command, ...) end
  return value
end

-- counted brings a state that has a frame to what its count says. Where that is lost, what the state knew of it stays.
local function counted(p, s, generation)
  local value = read('GET', p.count)
  value = type(value) == 'string' and integer(value, 0, TIME)
  if not value or math.floor(value / FRAME) ~= generation then return end
  s.framed, value = generation, value % FRAME
  if p.kind == 'g' then s.y, s.z = value, 0 else s.x = value end
end

-- A state has all its fields from its beginning, or Lua would make room for them one by one.
local function state(at, window, capacity, change, x, y, z)
  return {
    at = at, window = window, capacity = capacity, change = change, x = x, y = y, z = z, start = at, current = 0, previous = 0, ends = at,
    used = 0, counted = 0, held = 0, gone = 0, damaged = false, done = 0, framed = false, generation = false, before = 0,
  }
end

-- stored reads the state of a policy, or returns nothing.
local function stored(p)
  local value = read('GET', p.key)
  p.counts = type(value) == 'table'
  if type(value) ~= 'string' then return end
  local kind, at, window, capacity, change, x, y, z, generation =
    string.match(value, '^(%a):(%d+):(%d+):(%d+):(%d):(%d+):(%d+):(%d+):?(%d*)$')
  p.counts = generation ~= '' -- or damaged: it may have a frame
  if kind ~= p.kind then return end
  at, window, capacity, change, x, y, z =
    tonumber(at), tonumber(window), tonumber(capacity), tonumber(change), tonumber(x), tonumber(y), tonumber(z)
  if at > TIME or window < 1 or window > WINDOW or capacity < 1 or capacity > LIMIT or change > RESET
    or x > 2 * LIMIT or y > 2 * LIMIT or z > WINDOW then
    return
  end
  local s = state(at, window, capacity, change, x, y, z)
  if generation ~= '' then counted(p, s, tonumber(generation)) end
  if s.capacity == p.capacity and s.window == p.window and (kind ~= 'g' or s.x == p.limit) then
    s.change = KEEP
  else
    s.change = p.change or s.change
  end
  return p.algorithm.open(p, s) or nil
end

local count_holds -- holds.lua

-- load returns the state of a policy as it is now: the units `used`, and besides those `held`.
local function load(p)
  local s = p.kind ~= 'h' and stored(p)
  if not s then
    s = state(now, p.window, p.capacity, KEEP, 0, 0, 0)
    p.algorithm.start(p, s)
  end
  s.counted = p.algorithm.used(s)
  s.used = carried(p, s, s.counted)
  if p.holds then count_holds(p, s) end
  return s
end

-- frame has a state keep its frame with the next write, which takes units, or begin one, if it is one that can have one: that was changed
-- by nothing, and of few enough units. A bucket's is kept for a second, so that `at` is never much older than a charge.
local function frame(p, s, units)
  local limit, start = p.capacity, s.start
  if p.kind == 'g' then
    limit, start = p.capacity * p.window / math.max(p.limit, 1), 0
    if p.window % math.max(p.limit, 1) > 0 or s.current > 0 then return end
  elseif p.kind == 's' then
    start = now - now % p.window
  end
  if s.capacity ~= p.capacity or s.change ~= KEEP or s.window ~= p.window or p.kind ~= 'g' and s.start ~= start
    or (p.kind == 'g' and limit or s.current + units) > FRAMED or p.kind == 's' and s.previous > FRAMED then
    return
  end
  if p.kind ~= 'g' then
    s.generation = generation(p.terms.mark, p.kind == 's' and s.previous or start)
  elseif s.framed and s.framed == generation(p.terms.mark, s.at) and now >= s.at and now < s.at + 1000000 then
    s.generation = s.framed
  else
    s.generation = generation(p.terms.mark, now)
  end
end

-- digits returns a number as text: most are the same for many states. They are kept below zero, where no Lua takes them
-- for the places of a long list.
local texts = {}
local function digits(number)
  local text = texts[-1 - number]
  if not text then
    text = string.format('%.0f', number)
    texts[-1 - number] = text
  end
  return text
end

-- set_count writes the count of a frame, and returns what the state is kept for: a bucket's is filled further by
-- charges that do not write the state.
local function set_count(p, s)
  local count, ends = s.current, s.ends
  s.before = p.kind == 's' and s.previous or s.start
  if p.kind == 'g' then
    count, s.before, ends = s.start - s.at, s.at, now + LATEST + p.capacity * p.window / p.limit
  end
  redis.call('SET', p.count, string.format('%.0f', s.generation * FRAME + count), 'PXAT', digits(math.ceil(ends / 1000)))
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
    local text = p.kind .. ':' .. digits(s.at) .. ':' .. digits(p.window) .. ':' .. digits(p.capacity) .. ':' .. digits(p.change or KEEP) .. ':'
      .. digits(x) .. ':' .. digits(y) .. ':' .. digits(z)
    if s.generation then text = text .. ':' .. digits(s.generation) end
    redis.call('SET', p.key, text, 'PXAT', digits(math.ceil(ends / 1000)))
  end
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

