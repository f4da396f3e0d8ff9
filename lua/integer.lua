-- integer.lua: the part of a script that reads counts.
--
-- integer reads a whole number from 0 to high that is written as HINCRBY reads it; nil for anything else.
local function integer(text, high)
  if not text:match('^%d+$') or (#text > 1 and text:sub(1, 1) == '0') then return end
  local n = tonumber(text)
  return n <= high and n or nil
end
