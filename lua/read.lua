-- read.lua: what is stored under keys of one slot, at one moment.
--
-- A script, although it hardly writes: it runs on the primary, so that no replica that lags behind can
-- pair old data with a new stamp. A cache is old when a stamp differs from the one that it was read
-- under, so a stamp that is missing or damaged is set first, or a change could not be seen.
--
-- KEYS   what to read
-- ARGV   for each key, how
--          'string', 'hash'             whole
--          'field', name                one of a hash
--          'epoch'                      the stamps of an org or of plans: a hash with `keys` and `limits`
--          'index', low, high, count    members of a sorted set by name, as in ZRANGEBYLEX
--          'oldest', low, high, count   entries of a stream from low on, as in XRANGE
--          'newest', low, high, count   entries of a stream from high back
-- Reply  {now, value, ...}: a text or nil; {field, value, ...}; {keys, limits}; {member, ...};
--        {{id, {field, value, ...}}, ...}
-- Units  microseconds. Clock: TIME, once. TTL none: an epoch lives as long as what it is of
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- stamp reads one, or nothing where it is none that admit.lua would compare.
local function stamp(text)
  local n = tonumber(text or '')
  return n and n >= 1 and n <= 9007199254740991 and n % 1 == 0 and n or nil
end

local function epoch(key)
  local stamps = redis.call('HMGET', key, 'keys', 'limits')
  local keys, limits = stamp(stamps[1]), stamp(stamps[2])
  if not keys or not limits then
    keys, limits = keys or now, limits or now
    redis.call('HSET', key, 'keys', string.format('%.0f', keys), 'limits', string.format('%.0f', limits))
  end
  return { keys, limits }
end

local reply, arg = { now }, 1
for i, key in ipairs(KEYS) do
  local how = ARGV[arg]
  arg = arg + 1
  if how == 'string' then
    reply[i + 1] = redis.call('GET', key)
  elseif how == 'hash' then
    reply[i + 1] = redis.call('HGETALL', key)
  elseif how == 'field' then
    reply[i + 1] = redis.call('HGET', key, ARGV[arg])
    arg = arg + 1
  elseif how == 'epoch' then
    reply[i + 1] = epoch(key)
  elseif how == 'index' then
    reply[i + 1] = redis.call('ZRANGEBYLEX', key, ARGV[arg], ARGV[arg + 1], 'LIMIT', 0, ARGV[arg + 2])
    arg = arg + 3
  elseif how == 'oldest' then
    reply[i + 1] = redis.call('XRANGE', key, ARGV[arg], ARGV[arg + 1], 'COUNT', ARGV[arg + 2])
    arg = arg + 3
  elseif how == 'newest' then
    reply[i + 1] = redis.call('XREVRANGE', key, ARGV[arg + 1], ARGV[arg], 'COUNT', ARGV[arg + 2])
    arg = arg + 3
  else
    return redis.error_reply('ERR read: how to read is not known')
  end
end
return reply
