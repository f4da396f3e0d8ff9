-- project.lua: writes what an org's project is set to, and with the same step the org's `keys` stamp, so that every
-- cached key of the org is old from then on. After audit.lua and stamp.lua, which are part of the script.
--
-- KEYS   1 the org's epoch; 2 the org's projects: a hash, by name; 3 its index of projects; 4 its audit trail
-- ARGV   expected                the revision to change; 0: nothing may be set yet
--        raise                   1: the stamp too; 0 where what the keys may do stays as it was
--        name, member            of the project, and in the index
--        value                   "<revision> <seal> <record>"; seal and record are the caller's
--        text, sum, seal         of the audit entry
-- Reply  {code, now}: 1 written; -4 another revision
-- Units  microseconds since 1970. Clock: TIME, once. TTL none.
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]

local held = redis.call('HGET', KEYS[2], ARGV[3])
if ((held or '0 '):match('^(%d+) ') or '') ~= ARGV[1] then return { -4, now } end
redis.call('ZCARD', KEYS[3]) -- fails before anything is written if it is no sorted set
local stamp = next_stamp(KEYS[1], 'keys', now)
local note = trail(KEYS[4], ARGV[6], ARGV[7], ARGV[8])

redis.call('HSET', KEYS[2], ARGV[3], ARGV[5])
redis.call('ZADD', KEYS[3], 0, ARGV[4])
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'keys', stamp)
end
note()
return { 1, now }
