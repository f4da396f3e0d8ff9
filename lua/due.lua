-- due.lua: lists hours whose usage is to be exported. A script, so that it reads the primary.
--
-- KEYS   1 the bucket's index of hours to export, as usage.lua keeps it
-- ARGV   grace    for how long an hour must have been due, s
--        skip     so many of those that are due longest are left out
--        count    at most so many are listed
-- Reply  {now, all, member, since, member, since, ...}: how many there are, and those that are listed, which are due
--        since then; the longest due first
-- Units  seconds since 1970, `since` with a fraction. Clock: TIME, once. TTL none.
local time = redis.call('TIME')
local latest = string.format('%.6f', time[1] - ARGV[1] + time[2] / 1000000)
local reply = { tonumber(time[1]), redis.call('ZCOUNT', KEYS[1], '-inf', latest) }
for _, text in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[3])) do
  reply[#reply + 1] = text
end
return reply
