-- key.lua: writes the record of a key of an org, new or changed, and with the same step the org's `keys` stamp, so
-- that every cached key of the org is old from then on. After audit.lua and stamp.lua, which are part of the script.
--
-- KEYS   1 the org's epoch; 2 the key: a hash; 3 the org's index of keys; 4 its index of projects; 5 its audit
--        trail; from 6 on the credentials that are new: strings
-- ARGV   expected      the revision to change; 0: there must be no such key
--        raise         1: the stamp too. 0 where no cache can hold what is no more: for a new key, which nobody holds,
--                      the org's other callers are not made to read anew
--        org, project, member of the index, state, revision, record, seal
--                      what is written; the record is the caller's, and names org, state and revision too, and
--                      the key's credentials in double quotes
--        pointer       the value of each new credential
--        text, sum, seal of the audit entry
-- Reply  {code, now}
--          code  1 written; -1 not found; -2 the key or a credential is there already; -3 revoked, which is for
--                good: no other state comes after it; -4 another revision
-- Units  microseconds since 1970. Clock: TIME, once. TTL none.
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local epoch, key, index, projects = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expected, raise, org, project, member, state, revision = unpack(ARGV, 1, 7)

local function answer(code) return { code, now } end

local held = redis.call('HMGET', key, 'org', 'state', 'revision')
if expected == '0' then
  if redis.call('EXISTS', key) == 1 then return answer(-2) end
else
  if held[1] ~= org then return answer(-1) end
  if held[2] == 'revoked' and state ~= 'revoked' then return answer(-3) end
  if held[3] ~= expected then return answer(-4) end
end
for i = 6, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return answer(-2) end
end

-- These fail before anything is written where a key holds something else.
redis.call('ZCARD', index)
redis.call('ZCARD', projects)
local stamp = next_stamp(KEYS[1], 'keys', now)
local note = trail(KEYS[5], ARGV[11], ARGV[12], ARGV[13])

redis.call('HSET', key, 'org', org, 'project', project, 'state', state, 'revision', revision,
  'record', ARGV[8], 'seal', ARGV[9])
redis.call('ZADD', index, 0, member)
redis.call('ZADD', projects, 0, project)
-- When a credential was used is of no use when the record names it no more.
for _, field in ipairs(redis.call('HKEYS', key)) do
  local credential = field:match('^used:(.*)')
  if credential and not ARGV[8]:find('"' .. credential .. '"', 1, true) then redis.call('HDEL', key, field) end
end
for i = 6, #KEYS do redis.call('SET', KEYS[i], ARGV[10]) end
if raise == '1' then
  redis.call('HSET', epoch, 'keys', stamp)
end
note()
return answer(1)
