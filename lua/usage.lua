-- usage.lua: adds a batch of usage to one hour of an org, all of it or nothing, once however often it
-- is sent.
--
-- KEYS   1 the mark: a hash with the number of the last batch that this process had decided (`batch`),
--          and of the last that was refused (`refused`); 2 the hour: a hash, name -> units
-- ARGV   batch    number of the batch, rising for each process and org
--        mark     TTL of the mark, ms
--        keep     TTL of the hour, ms
--        then for each entry: name, units
-- Reply  {code, place}
--          code   1 added, now or when the batch was sent before
--                 0 refused, now or before: place is the entry that is at fault, counted from 1, whose
--                   units or sum are out of bounds or whose stored value is no count; 0: the hour is no
--                   hash; -1: it was refused before
--                 2 a number of the call is out of bounds; nothing was decided
-- Units  1 to 10^15-1 for each entry; a sum stays below 2^53. Clock: none but that of the TTLs.
-- TTL    set on the mark and the hour with every batch that is decided.
--
-- A refusal is remembered too: the caller may then give the units another batch, and a copy of this one
-- that was held up on its way adds nothing. HINCRBY both adds and marks, and marks first, so that a user
-- who may not run it changes nothing.

local SUM, UNITS = 9007199254740991, 999999999999999

-- integer reads a whole number from 0 to high that is written as HINCRBY reads it.
local function integer(text, high)
  if not text:match('^%d+$') or (#text > 1 and text:sub(1, 1) == '0') then return end
  local n = tonumber(text)
  return n <= high and n or nil
end

local batch, mark, keep = integer(ARGV[1], SUM), integer(ARGV[2], SUM), integer(ARGV[3], SUM)
if not batch or batch < 1 or not mark or mark < 1 or not keep or keep < 1 then return { 2, 0 } end

local last = redis.call('HMGET', KEYS[1], 'batch', 'refused')
local decided, refused = tonumber(last[1] or '0'), tonumber(last[2] or '0')
if batch == refused then return { 0, -1 } end
if batch <= decided then return { 1, 0 } end

local function set(field, from)
  redis.call('HINCRBY', KEYS[1], field, string.format('%.0f', batch - from))
end

-- fault finds the entry that cannot be added.
local function fault()
  local kind = redis.call('TYPE', KEYS[2]).ok
  if kind ~= 'hash' and kind ~= 'none' then return 0 end
  local sums = {}
  for i = 4, #ARGV, 2 do
    local name, units = ARGV[i], integer(ARGV[i + 1] or '', UNITS)
    local sum = sums[name] or integer(redis.call('HGET', KEYS[2], name) or '0', SUM)
    if not units or units < 1 or not sum or sum + units > SUM then return (i - 2) / 2 end
    sums[name] = sum + units
  end
end

local place = fault()
set('batch', decided)
if place then
  set('refused', refused)
else
  for i = 4, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return place and { 0, place } or { 1, 0 }
