-- stamp.lua: the part of a script that makes stamps: Redis times in microseconds that always rise.
--
-- stamp_of(text) reads one. Damage must not stand in the way of a change or of its repair: what is no stamp counts as
-- none, which is 0.
-- next_stamp(epoch, field, now) returns, as text, what a stamp of an epoch is to be next: now, or later where it is
-- ahead. It fails where the epoch is no hash: call it before anything is written.
local function stamp_of(text)
  local n = tonumber(text or '')
  return n and n >= 1 and n < 9007199254740991 and math.floor(n) or 0
end

local function next_stamp(epoch, field, now)
  return string.format('%.0f', math.max(now, stamp_of(redis.call('HGET', epoch, field)) + 1))
end
