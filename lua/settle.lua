-- settle.lua: takes note that ranges that claim.lua fixed are exported, and of an hour of which nothing is left that it
-- is not to be exported any more.
--
-- KEYS   1 the hour; 2 what is exported of it, as claim.lua has it; 3 the bucket's index of hours to export
-- ARGV   member   of the index, where all names of the hour were looked at, and what is open of them are these ranges;
--                 or ''
--        writes   as it was answered at that beginning
--        then for each range: name, from, to
-- Reply  {settled, gone}
--          settled   how many of the ranges were claimed until now
--          gone      1: the hour is not in the index any more; 0: it stays there, since it is not finished, usage
--                    came meanwhile, or Redis forgot that one of the ranges was claimed
-- Clock  none. TTL: none, but that nothing is left of an hour that has none any more.
-- Cost   grows with the ranges; for 500 less than usage.lua needs to add them.
--
-- A range that is not claimed just so is left as it is: somebody else settled it. To settle twice is harmless.
local settled, known, changes = 0, true, {}
redis.call('ZCARD', KEYS[3]) -- fails before anything is written if it is no sorted set

for first = 3, #ARGV, 1500 do -- Lua unpacks only so many
  local last, names = math.min(first + 1499, #ARGV), {}
  for i = first, last, 3 do names[#names + 1] = ARGV[i] end
  local states = redis.call('HMGET', KEYS[2], unpack(names))
  for i, name in ipairs(names) do
    local from, to = ARGV[first + 3 * i - 2], ARGV[first + 3 * i - 1]
    if states[i] == from .. '-' .. to then
      settled = settled + 1
      changes[#changes + 1], changes[#changes + 2] = name, to
    elseif states[i] ~= to then
      known = false
    end
  end
end
for first = 1, #changes, 500 do
  redis.call('HSET', KEYS[2], unpack(changes, first, math.min(first + 499, #changes)))
end

local gone = 0
if ARGV[1] ~= '' then
  if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[2])
    gone = 1
  elseif known and redis.call('HGET', KEYS[2], 'writes') == ARGV[2] then
    gone = 1
  end
  if gone == 1 then redis.call('ZREM', KEYS[3], ARGV[1]) end
end
return { settled, gone }
