-- holds.lua: what is held of a policy. Between audit.lua and admit.lua.

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

-- count_holds completes a state by what is held.
count_holds = function(p, s)
  local sum = read('ZSCORE', p.holds, 'held')
  local units = type(sum) == 'string' and integer(-tonumber(sum), 0, LIMIT)
  s.damaged = not units
  if units then
    local freed
    freed, s.gone = forgotten(p)
    s.held = math.max(units - freed, 0)
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
  local ends = read('ZSCORE', p.holds, member(units, id))
  return type(ends) == 'string' and tonumber(ends) > now and tonumber(ends) <= now + 2 * LEASE
end

-- release ends a hold.
local function release(p, s, units, id)
  sweep(p, s)
  redis.call('ZREM', p.holds, member(units, id))
  set_held(p, s, math.max(s.held - units, 0))
end

