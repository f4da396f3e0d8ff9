-- audit.lua: the part of a script that adds an entry to the audit trail of what it changes.
--
-- trail(key, text, sum, seal) reads the end of a trail, which fails where the key is no stream: call it before
-- anything is written. It returns a function that appends the entry: call that with the writes, last. Without a
-- text there is no entry.
--
-- An entry of the stream has
--   seq     its number, from 1
--   link    SHA-1 of "<link of the entry before>:<seq>:<sum>", as audit.Link has it
--   entry   the text; sum, its SHA-256, is the caller's; seal, the caller's
-- TTL    none; a trail keeps about the last 100,000 entries
local function trail(key, text, sum, seal)
  if not text or text == '' then return function() end end
  local seq, link = 0, ''
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  if last then
    for i = 1, #last[2], 2 do
      if last[2][i] == 'seq' then seq = tonumber(last[2][i + 1]) or 0 end
      if last[2][i] == 'link' then link = last[2][i + 1] end
    end
  end
  return function()
    local number = string.format('%.0f', seq + 1)
    redis.call('XADD', key, 'MAXLEN', '~', '100000', '*', 'seq', number,
      'link', redis.sha1hex(link .. ':' .. number .. ':' .. sum), 'entry', text, 'sum', sum, 'seal', seal)
  end
end
