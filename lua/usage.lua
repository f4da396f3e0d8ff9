-- usage.lua: adds a batch of usage to one hour of an org, all of it or nothing, once however often it
-- is sent, and notes that there is something to export. After integer.lua, which is part of the script.
--
-- KEYS   1 the mark: a hash with the number of the last batch that this process had decided (`batch`),
--          and of the last that was refused (`refused`); 2 the hour: a hash, name -> units
--        3 the bucket's index of hours to export: a sorted set; 4 what is exported of the hour, as
--          claim.lua has it; 5 the longest time that hours of the bucket are kept, ms: a string
-- ARGV   batch    number of the batch, rising for each process and org
--        mark     TTL of the mark, ms
--        keep     TTL of the hour, ms, where that is more than `mark` and a day
--        ended    when the hour ends, s since 1970
--        member   of the index
--        then for each entry: name, units
-- Reply  {code, place}
--          code   1 added, now or when the batch was sent before
--                 0 refused, now or before: place is the entry that is at fault, counted from 1, whose
--                   units or sum are out of bounds or whose stored value is no count; 0: the hour is no
--                   hash; -1: it was refused before
--                 2 a number of the call is out of bounds; nothing was decided
-- Units  1 to 10^15-1 for each entry; a sum stays below 2^53.
-- Clock  TIME, once. Limits of time are those of the TTLs.
-- TTL    set on the mark, the hour and what is exported of it with every batch that is decided. It is never made
--        shorter, so that an hour is kept as long as whoever keeps it longest has it, and, whatever `keep` is, for a
--        day more than an exporter may leave it alone. The index has none: a member leaves it when all is exported,
--        or was due for longer than any hour of the bucket is kept. Each that comes removes up to ten such, so that
--        without an exporter it has one for each hour that is kept. The longest time lives for as long as itself after
--        the last hour that is kept so long.
--
-- The score of a member is when it is due: the end of the hour, or when usage came after that, to the microsecond.
-- An hour that begins anew is due anew, so no two beginnings of one hour that were exported have one score.
--
-- A refusal is remembered too: the caller may then give the units another batch, and a copy of this one
-- that was held up on its way adds nothing. HINCRBY both adds and marks, and marks first, so that a user
-- who may not run it counts nothing.

local SUM, UNITS = 9007199254740991, 999999999999999
local batch, mark, keep = integer(ARGV[1], SUM), integer(ARGV[2], SUM), integer(ARGV[3], SUM)
local ended = integer(ARGV[4], SUM)
if not batch or batch < 1 or not mark or mark < 1 or not keep or keep < 1 or not ended then return { 2, 0 } end
keep = math.max(keep, mark + 86400000)

local last = redis.call('HMGET', KEYS[1], 'batch', 'refused')
local decided, refused = tonumber(last[1] or '0'), tonumber(last[2] or '0')
if batch == refused then return { 0, -1 } end
if batch <= decided then return { 1, 0 } end

local kind = redis.call('TYPE', KEYS[2]).ok
local listed, writes = redis.call('ZSCORE', KEYS[3], ARGV[5]), redis.call('HGET', KEYS[4], 'writes')
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000 -- s

local function set(field, from)
  redis.call('HINCRBY', KEYS[1], field, string.format('%.0f', batch - from))
end

-- fault finds the entry that cannot be added.
local function fault()
  if kind ~= 'hash' and kind ~= 'none' then return 0 end
  local sums = {}
  for i = 6, #ARGV, 2 do
    local name, units = ARGV[i], integer(ARGV[i + 1] or '', UNITS)
    local sum = sums[name] or integer(redis.call('HGET', KEYS[2], name) or '0', SUM)
    if not units or units < 1 or not sum or sum + units > SUM then return (i - 4) / 2 end
    sums[name] = sum + units
  end
end

-- list puts the hour into the index, and removes from it what was due for too long.
local function list()
  local longest = math.max(keep, tonumber(redis.call('GET', KEYS[5]) or '') or 0)
  if longest == keep then
    local ms = string.format('%.0f', keep)
    redis.call('SET', KEYS[5], ms, 'PX', ms)
  end
  redis.call('ZADD', KEYS[3], string.format('%.6f', math.max(ended, now)), ARGV[5])
  local past = string.format('%.3f', now - longest / 1000)
  local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', past, 'LIMIT', 0, 10)
  if #old > 0 then redis.call('ZREM', KEYS[3], unpack(old)) end
end

-- exporting tells an exporter that is at work on the hour of this batch, by a number that it never saw, whatever Redis
-- forgot since. An hour that begins anew, since it was lost or deleted, has nothing exported.
local function exporting()
  if kind == 'none' then
    redis.call('DEL', KEYS[4])
  else
    redis.call('HSET', KEYS[4], 'writes', string.format('%.0f', math.max(now * 1000000, (tonumber(writes) or 0) + 1)))
  end
end

-- extend makes the hour, and what is exported of it, live for at least `keep`.
local function extend()
  local left = redis.call('PTTL', KEYS[2])
  if left < keep then
    left = keep
    redis.call('PEXPIRE', KEYS[2], string.format('%.0f', left))
  end
  if writes then redis.call('PEXPIRE', KEYS[4], string.format('%.0f', left)) end
end

local place = fault()
if not place then -- first: an hour without usage in the index does no harm, nor does a change that is none
  if not listed or kind == 'none' then list() end
  if writes then exporting() end
end
set('batch', decided)
if place then
  set('refused', refused)
else
  for i = 6, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
  extend()
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return place and { 0, place } or { 1, 0 }
