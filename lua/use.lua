-- use.lua: notes when credentials were last used. It only ever moves forward, so that processes may tell in any
-- order and again, and changes neither a revision nor a stamp.
--
-- KEYS   the keys, one for each use: hashes
-- ARGV   for each, the credential and when: microseconds since 1970
-- Reply  how many were written
-- TTL    none; a key that is not there, or whose record does not name the credential, stays as it is
local n = 0
for i, key in ipairs(KEYS) do
  local credential, at = ARGV[2 * i - 1], ARGV[2 * i]
  local field = 'used:' .. credential
  local held = redis.call('HMGET', key, 'record', field)
  if held[1] and held[1]:find('"' .. credential .. '"', 1, true) and tonumber(at) > (tonumber(held[2] or '') or 0) then
    redis.call('HSET', key, field, at)
    n = n + 1
  end
end
return n
