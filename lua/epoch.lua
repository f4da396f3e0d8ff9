-- epoch.lua: the two stamps of an org, set where they are missing.
--
-- A cache reads the stamps before it reads what they stand for; a stamp that differs later proves that
-- the cache is old. A missing stamp therefore has to be set first, or a change could not be seen.
--
-- KEYS   1  the org's epoch: a hash with `keys` and `limits`
-- Reply  {now, keys, limits}: Redis time and the stamps, microseconds
-- Clock  TIME, once. TTL none: an org's epoch lives as long as the org
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamps = redis.call('HMGET', KEYS[1], 'keys', 'limits')
local keys, limits = tonumber(stamps[1] or ''), tonumber(stamps[2] or '')
if not keys or not limits then
  keys, limits = keys or now, limits or now
  redis.call('HSET', KEYS[1], 'keys', string.format('%.0f', keys), 'limits', string.format('%.0f', limits))
end
return {now, keys, limits}
