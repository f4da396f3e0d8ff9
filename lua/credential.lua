-- credential.lua: makes credentials of an org; changes them, and with the same step its `keys` stamp, so
-- that every cached key of the org is old from then on; and binds the digest of a foreign key to a credential.
--
-- 'create', member, field, value, ...      KEYS: the org's epoch, the record (a hash), the org's index
--     writes a record that is not there; the script adds `revision` 1 and `created`. The stamp stays:
--     nobody holds what was not there, and the org's other callers are not made to read anew
-- 'state', org, state, reason              KEYS: the org's epoch, the record
--     changes the state of a record of that org; `revoked` never changes back
--     Reply  {code, now, fields}; fields: the record, flat; empty where code < 0
--            code  1 changed; 0 the record was in that state already, nothing changed
--                  -1 not found, -2 there already, -3 revoked
-- 'claim', id, ms                          KEYS: the digest's string
--     binds the digest to id for so many milliseconds, unless it is bound to another
-- 'confirm', id                            KEYS: the digest's string
--     makes that binding last, if it still stands
--     Reply  {code, now, {}}
--            code  1 bound to id; -1 not bound to id; -2 bound to another; -4 claimed for another
--
-- Units  microseconds since 1970, but for ms. Clock: TIME, once.
-- TTL    none on an epoch, a record, an index and a confirmed digest; ms on a claim. A claim whose record
--        was never written so ends by itself, and nobody has to guess whether to take it over.

local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local op = ARGV[1]

local function text(n) return string.format('%.0f', n) end
local function answer(code, fields) return { code, now, fields or {} } end

if op == 'claim' or op == 'confirm' then
  local id, bound = ARGV[2], redis.call('GET', KEYS[1])
  if op == 'confirm' then
    if bound ~= id then return answer(-1) end
    redis.call('PERSIST', KEYS[1])
  elseif not bound then
    redis.call('SET', KEYS[1], id, 'PX', ARGV[3])
  elseif bound ~= id then
    return answer(redis.call('PTTL', KEYS[1]) < 0 and -2 or -4)
  end
  return answer(1)
end

local epoch, record = KEYS[1], KEYS[2]

-- Damage must not stand in the way of a revocation: what is no number counts as none.
local function number(value)
  local n = tonumber(value or '')
  return n and n >= 1 and n < 9007199254740991 and math.floor(n) or 0
end
local stamp = text(math.max(now, number(redis.call('HGET', epoch, 'keys')) + 1))

if op == 'create' then
  if redis.call('EXISTS', record) == 1 then return answer(-2) end
  redis.call('ZCARD', KEYS[3]) -- fails before anything is written if it is no sorted set
  local fields = { 'revision', '1', 'created', text(now) }
  for i = 3, #ARGV do fields[#fields + 1] = ARGV[i] end
  redis.call('HSET', record, unpack(fields))
  redis.call('ZADD', KEYS[3], 0, ARGV[2])
  return answer(1, redis.call('HGETALL', record))
else
  local org, state, reason = ARGV[2], ARGV[3], ARGV[4]
  local held = redis.call('HMGET', record, 'org', 'state', 'revision')
  if held[1] ~= org then return answer(-1) end
  if held[2] == state then return answer(0, redis.call('HGETALL', record)) end
  if held[2] == 'revoked' then return answer(-3) end
  local fields = { 'state', state, 'reason', reason, 'revision', text(number(held[3]) + 1) }
  if state == 'revoked' then
    fields[#fields + 1], fields[#fields + 2] = 'revoked', text(now)
  end
  redis.call('HSET', record, unpack(fields))
end
redis.call('HSET', epoch, 'keys', stamp)
return answer(1, redis.call('HGETALL', record))
