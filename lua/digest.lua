-- digest.lua: binds the digest of a foreign key to the id of a credential. The digest lies in a slot of its own,
-- since it is read before the org is known, and so is not written with the record: it is claimed first and
-- confirmed last.
--
-- KEYS   the digest: a string
-- ARGV   'claim', id, ms    binds it to id for so many milliseconds, unless it is bound to another
--        'confirm', id      makes that last, if it still stands
-- Reply  1 bound to id; -1 not bound to id; -2 bound to another; -4 claimed for another
-- TTL    ms on a claim, none on what is confirmed. A claim whose record was never written so ends by itself, and
--        nobody has to guess whether to take it over.
local op, id, bound = ARGV[1], ARGV[2], redis.call('GET', KEYS[1])
if op == 'confirm' then
  if bound ~= id then return -1 end
  redis.call('PERSIST', KEYS[1])
elseif not bound then
  redis.call('SET', KEYS[1], id, 'PX', ARGV[3])
elseif bound == id then
  if redis.call('PTTL', KEYS[1]) >= 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
else
  return redis.call('PTTL', KEYS[1]) < 0 and -2 or -4
end
return 1
