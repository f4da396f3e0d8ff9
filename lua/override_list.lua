-- override_list.lua: the overrides of an org, and the stamps that they are current for.
--
-- A script, although it only reads: it runs on the primary, so that no replica that lags behind can pair
-- old overrides with a new stamp. Missing stamps are set first, as epoch.lua does.
--
-- KEYS   1 the org's epoch; 2 the org's overrides: a hash, id -> JSON
-- Reply  {now, keys, limits, {id, JSON, id, JSON, ...}}
-- Units  microseconds. Clock: TIME, once. TTL none
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- stamp reads one, or nothing where it is missing or is none that admit.lua would compare.
local function stamp(text)
  local n = tonumber(text or '')
  return n and n >= 1 and n <= 9007199254740991 and n % 1 == 0 and n or nil
end

local stamps = redis.call('HMGET', KEYS[1], 'keys', 'limits')
local keys, limits = stamp(stamps[1]), stamp(stamps[2])
local all = redis.call('HGETALL', KEYS[2])
if not keys or not limits then
  keys, limits = keys or now, limits or now
  redis.call('HSET', KEYS[1], 'keys', string.format('%.0f', keys), 'limits', string.format('%.0f', limits))
end
return { now, keys, limits, all }
