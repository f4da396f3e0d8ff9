-- epoch.lua: the two stamps of an org, set where they are missing or damaged.
--
-- A cache reads the stamps before it reads what they stand for; a stamp that differs later proves that
-- the cache is old. A missing stamp therefore has to be set first, or a change could not be seen.
--
-- KEYS   1  the org's epoch: a hash with `keys` and `limits`
-- Reply  {now, keys, limits}: Redis time and the stamps, microseconds
-- Clock  TIME, once. TTL none: an org's epoch lives as long as the org
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- stamp reads one, or nothing where it is missing or is none that admit.lua would compare.
local function stamp(text)
  local n = tonumber(text or '')
  return n and n >= 1 and n <= 9007199254740991 and n % 1 == 0 and n or nil
end

local stamps = redis.call('HMGET', KEYS[1], 'keys', 'limits')
local keys, limits = stamp(stamps[1]), stamp(stamps[2])
if not keys or not limits then
  keys, limits = keys or now, limits or now
  redis.call('HSET', KEYS[1], 'keys', string.format('%.0f', keys), 'limits', string.format('%.0f', limits))
end
return {now, keys, limits}
