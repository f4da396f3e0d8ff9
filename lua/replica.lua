-- replica.lua: keeps the list of the processes that share limits, and counts those that are alive: each beats again and
-- again, and who was not seen for a life is taken off.
--
-- KEYS   1 the processes of a group: a sorted set, by process, when each was last seen. What is not one is replaced
-- ARGV   process
--        life     for how long a process counts that beats no more, 1 to TIME; 0: it leaves
-- Reply  how many are alive, the one that beats included
-- Units  microseconds since 1970. Clock: TIME, once. A beat from the future, which only a clock that was set back can
--        leave, counts until it is a life away
-- TTL    PEXPIRE of a life with every beat
local TIME = 9007199254740991
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]

local life = tonumber(ARGV[2])
if not life or life < 0 or life > TIME or life % 1 ~= 0 then return redis.error_reply('ERR replica: the life is not one') end
local damaged = type(redis.pcall('ZCARD', KEYS[1])) ~= 'number'

if damaged then redis.call('DEL', KEYS[1]) end
if life == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return redis.call('ZCARD', KEYS[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - life))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + life), '+inf')
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(life / 1000)))
return redis.call('ZCARD', KEYS[1])
