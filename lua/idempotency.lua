-- idempotency.lua: remembers a request by its idempotency key, so that a repeat is known on every replica.
--
-- KEYS   1 what is remembered: a hash with body, owner and, once the request was finished, key and credential
-- ARGV   'claim',   body, owner, ms                    take it for so long, if nobody has
--        'finish',  body, owner, ms, key, credential   keep what came of it for so long
--        'release', owner                              give it back
--          body   a digest of the request; owner, a word that no other claim has
-- Reply  {code, ms, key, credential}
--          code  'claim': 1 taken, 2 under way elsewhere (for `ms` more), 3 finished: what came of it, 4 another body
--                'finish', 'release': 1 done, 0 somebody else has it by now
-- Units  milliseconds. Clock: none. TTL: `ms` of the call; a claim ends by itself, so that a crash locks nothing.

local op = ARGV[1]
local found = redis.call('HMGET', KEYS[1], 'body', 'owner', 'key', 'credential')
local body, owner, key, credential = found[1], found[2], found[3], found[4]

if op == 'claim' then
  if not owner then
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'body', ARGV[2], 'owner', ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    return {1, 0, '', ''}
  end
  if body ~= ARGV[2] then return {4, 0, '', ''} end
  if key then return {3, 0, key, credential or ''} end
  return {2, math.max(redis.call('PTTL', KEYS[1]), 0), '', ''}
end

if op == 'finish' then
  if owner and owner ~= ARGV[3] then return {0, 0, '', ''} end
  redis.call('HSET', KEYS[1], 'body', ARGV[2], 'owner', ARGV[3], 'key', ARGV[5], 'credential', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  return {1, 0, '', ''}
end

if op == 'release' then
  if owner ~= ARGV[2] or key then return {0, 0, '', ''} end
  redis.call('DEL', KEYS[1])
  return {1, 0, '', ''}
end

return redis.error_reply('ERR idempotency: no such operation')
