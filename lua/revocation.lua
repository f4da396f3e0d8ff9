-- revocation.lua: changes and lists what is revoked of an org's tokens. admit.lua looks it up. After audit.lua, which is
-- part of the script.
--
-- KEYS   1 what is revoked: a hash, by name; 2 the names by when they end: a sorted set; 3 the audit trail, but for
--        'list'
-- ARGV   'revoke', name, stamp, till, keep, most, record   of at most so many names
--          stamp    tokens that were made before it are refused; 0 now, EVER all
--          till     when this ends; 0: as long as `keep` after now, or after the stamp where that is later
--          record   the caller's
--        'lift', name
--        'list', count, name, till       at most so many; after the last of a page, '' from the first on
--        and then text, sum, seal        of the audit entry, but for 'list'; '' for none. It is appended where something
--                                        was changed
-- Reply  'revoke', 'lift': {code, now, stamp, till}, as it then is
--          code     1 done; 0 'lift': there is none; -1 too many, -2 the end has passed, -3 the stamp is more than a day
--                   ahead, or the end more than LONGEST
--        'list': {now, name, till, name, entry, ...}: the last of this page where there is another, or ''; then what has
--                not ended, by its end and name
-- Units  microseconds. Clock: TIME, once.
-- TTL    of both keys: never ends before an entry does. Each change removes up to 100 that have ended.
--
-- An entry is '<stamp> <till> <now> <record>', `now` being when it was last written. Written again, it keeps the later
-- stamp and the later end, so that no revocation undoes another. What cannot be read counts as EVER, as it does when it
-- is looked up, and as ending LONGEST from now; only 'lift' mends that.

local EVER, DAY, LONGEST = 9007199254740991, 86400000000, 402 * 86400000000
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]

local function digits(n) return string.format('%.0f', n) end

local function whole(text)
  local n = tonumber(text or '')
  return n and n >= 1 and n <= EVER and n
end

if ARGV[1] == 'list' then
  local count, after, till = tonumber(ARGV[2]), ARGV[3], ARGV[4]
  local first = redis.call('ZCOUNT', KEYS[2], '-inf', digits(now))
  if after ~= '' then -- by its place, or by its end where it has another by now
    local score = tonumber(redis.call('ZSCORE', KEYS[2], after) or '')
    local place = score == tonumber(till) and redis.call('ZRANK', KEYS[2], after) + 1
    first = math.max(first, place or redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. till))
  end
  local names = redis.call('ZRANGE', KEYS[2], first, first + count)
  local reply, last = { now, '', 0 }, names[count]
  if names[count + 1] then
    reply[2], reply[3] = last, tonumber(redis.call('ZSCORE', KEYS[2], last))
    names[count + 1] = nil
  end
  for _, name in ipairs(names) do
    local entry = redis.call('HGET', KEYS[1], name)
    if entry then
      reply[#reply + 1], reply[#reply + 2] = name, entry
    end
  end
  return reply
end

local op, name = ARGV[1], ARGV[2]
local held = redis.call('HGET', KEYS[1], name)
local append = trail(KEYS[3], ARGV[#ARGV - 2], ARGV[#ARGV - 1], ARGV[#ARGV])

-- prune removes what has ended. It goes before all other writes, and fails where a key holds something else.
local function prune()
  local names = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', digits(now), 'LIMIT', 0, 100)
  if #names == 0 then return end
  redis.call('HDEL', KEYS[1], unpack(names))
  redis.call('ZREM', KEYS[2], unpack(names))
end

if op == 'lift' then
  prune()
  if redis.call('HDEL', KEYS[1], name) + redis.call('ZREM', KEYS[2], name) == 0 then return { 0, now, 0, 0 } end
  append()
  return { 1, now, 0, 0 }
end

local stamp, till = tonumber(ARGV[3]), tonumber(ARGV[4])
if stamp == 0 then stamp = now end
if till == 0 then till = (stamp == EVER and now or math.max(now, stamp)) + tonumber(ARGV[5]) end
if till <= now then return { -2, now, 0, 0 } end
if stamp < EVER and stamp > now + DAY or till > now + LONGEST then return { -3, now, 0, 0 } end
if held then
  local before, ends = string.match(held, '^(%d+) (%d+) %d+ ')
  before, ends = whole(before), whole(ends)
  if not before or not ends then before, ends = EVER, now + LONGEST end
  if now < ends then stamp, till = math.max(stamp, before), math.max(till, ends) end
end

prune()
if not held and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[6]) then return { -1, now, 0, 0 } end
redis.call('HSET', KEYS[1], name, digits(stamp) .. ' ' .. digits(till) .. ' ' .. digits(now) .. ' ' .. ARGV[7])
redis.call('ZADD', KEYS[2], digits(till), name)
local last = math.ceil(tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]) / 1000)
for i = 1, 2 do
  local left = redis.call('PTTL', KEYS[i]) -- below zero: none yet
  if math.floor(now / 1000) + left < last then redis.call('PEXPIREAT', KEYS[i], digits(last)) end
end
append()
return { 1, now, stamp, till }
