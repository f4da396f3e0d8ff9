-- claim.lua: fixes what of an hour is exported next: for each name the range of its units from what was exported
-- before to what there is now. After integer.lua, which is part of the script.
--
-- KEYS   1 the hour: a hash, name -> units; 2 what is exported of it: a hash with
--            <name>   '<units>' that are exported; '<from>-<to>' while a range is claimed
--            writes   a number that changes with each batch that comes
--            began    when the hour began to be kept, as `began` of the reply
--        3 the bucket's index of hours to export
-- ARGV   cursor   of HSCAN: 0 to begin, then what was answered
--        most     ranges to claim; also about how many names are looked at, if 100 or more
--        member   of the index
--        ended    when the hour ends, s since 1970
-- Reply  {next, again, writes, odd, began, name, from, to, ...}
--          next     the next cursor; 0: these were the last names
--          again    1: there was more to claim; ask with the same cursor once these are settled
--          writes   as it is now; '' where there is no such hour
--          odd      a name whose units, or what is exported of them, are no count; it is passed over. '' if none is
--          began    when the hour began to be kept, if that was after its end, us since 1970; else 0
-- Clock  TIME, once, for a first `writes`. TTL: what is exported lives as long as the hour.
-- Cost   grows with the names that are looked at; for 500 less than usage.lua needs to add them.
--
-- A range that is claimed stays as it is until settle.lua settles it, whatever comes meanwhile, and is answered
-- to everybody who asks. So whoever exports it gives it the same name. An hour that was lost and begins anew has other
-- ranges from 0: `began` tells them apart. It is read from the index, which a replica has as soon as it has the hour.
-- An hour that is neither there nor begun to be exported has nothing to claim.
--
-- A cursor is good for one server as long as that runs: with another, which hashes otherwise, it skips names. So only a
-- claim that both begins and ends a scan has seen all names.

local SUM = 9007199254740991
local cursor, most = ARGV[1], tonumber(ARGV[2])

local left = redis.call('PTTL', KEYS[1])
if left == -2 then return { '0', 0, '', '', 0 } end
local kept = redis.call('HMGET', KEYS[2], 'writes', 'began')
local writes, began = kept[1], tonumber(kept[2] or '0')
local scan = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', math.max(most, 100))
local page, names, units = scan[2], {}, {}
for i = 1, #page, 2 do
  if not units[page[i]] then -- HSCAN may give a name twice
    names[#names + 1], units[page[i]] = page[i], page[i + 1]
  end
end

local reply, again, odd, changes = { scan[1], 0, '', '', 0 }, 0, '', {}

-- exported reads what is exported of a name: units, and the end of the range that is claimed.
local function exported(state)
  local from, to = state:match('^(%d+)-(%d+)$')
  if not from then return integer(state, SUM) end
  from, to = integer(from, SUM), integer(to, SUM)
  if from and to and from < to then return from, to end
end

-- look adds to the reply what is to be exported of a name.
local function look(name, state)
  local now, from, to = integer(units[name], SUM), exported(state)
  if not now or not from then
    odd = name
  elseif to or now > from then
    if #reply >= 5 + 3 * most then
      again = 1
      return
    end
    if not to then
      to = now
      changes[#changes + 1] = name
      changes[#changes + 1] = string.format('%.0f-%.0f', from, to)
    elseif to < now then
      again = 1
    end
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = name, from, to
  end
end

if not writes then
  local due, now = redis.call('ZSCORE', KEYS[3], ARGV[3]), redis.call('TIME')
  if not due then return { '0', 0, '', '', 0 } end
  began = tonumber(due) > tonumber(ARGV[4]) and math.floor(due * 1000000 + 0.5) or 0
  writes = string.format('%.0f', now[1] * 1000000 + now[2])
  changes = { 'writes', writes, 'began', string.format('%.0f', began) }
end

for first = 1, #names, 500 do -- Lua unpacks only so many
  local last = math.min(first + 499, #names)
  local states = redis.call('HMGET', KEYS[2], unpack(names, first, last))
  for i = first, last do look(names[i], states[i - first + 1] or '0') end
end

for first = 1, #changes, 500 do
  redis.call('HSET', KEYS[2], unpack(changes, first, math.min(first + 499, #changes)))
end
if left >= 0 then redis.call('PEXPIRE', KEYS[2], math.max(left, 1)) end
reply[2], reply[3], reply[4], reply[5] = again, writes, odd, began
return reply
