-- overrides.lua: changes the overrides of an org, or the plans of a bucket, and with the same step the `limits`
-- stamp of their epoch, so that every cached limit is old from then on. After audit.lua and stamp.lua, which are
-- part of the script.
--
-- KEYS   1 the epoch; 2 what is changed: a hash, id -> JSON; 3 the audit trail, but for 'copy'
-- ARGV   'set',    id, expected, JSON, until, most    write one; at most so many
--        'delete', id, expected, marked, most         remove one; with a time, leave a mark for so long, also
--                                                     where there is none: it may have been lost here alone
--        'clear',  project                            remove all of a project ('' those of the whole org)
--        'copy',   id, revision, JSON, created, most  write what another bucket has, if it is newer
--        and then text, sum, seal                     of the audit entry; '' for none. It is appended where
--                                                     something was changed
--          expected   the revision to change: 'any', 'absent', or a number
--          until      Redis time in microseconds when the override ends; 0 never
-- Reply  {code, now, revision, created}
--          code  'set': 1 created, 2 replaced. 'delete', 'copy': 1. 'clear': how many
--                0 'copy': nothing done; `revision` is what is there
--                -1 not found (`revision` is that of its mark), -2 another revision, -3 too many,
--                -4 `until` has passed
-- Units  microseconds. Clock: TIME, once. TTL none: an override ends by its `until`.
--
-- The JSON has the members `project` and `until`, and others that only its readers look at; all numbers in
-- it are strings, since a Lua number prints 14 digits only. The script adds `revision`, which is the stamp of
-- the change, and `created`. A mark has `deleted`; it keeps a copy that comes late from bringing back what was
-- deleted, and counts as nothing else.

local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local seal, sum, text = table.remove(ARGV), table.remove(ARGV), table.remove(ARGV)
local op, id = ARGV[1], ARGV[2]
local append = trail(KEYS[3], text, sum, seal)

local stamp = next_stamp(KEYS[1], 'limits', now)

-- Damage must not stand in the way of its repair: what is no override counts as one without members.
local function decode(text)
  local ok, override = pcall(cjson.decode, text)
  return ok and type(override) == 'table' and override or {}
end

-- matches tells whether an override is what the caller expects to change.
local function matches(stored, expected)
  if expected == 'any' then return true end
  if not stored then return expected == 'absent' end
  return expected == stored.revision
end

-- drop removes the overrides that `which` picks, and returns how many those are.
local function drop(which)
  local all, n = redis.call('HGETALL', KEYS[2]), 0
  for i = 1, #all, 2 do
    if which(decode(all[i + 1])) then
      redis.call('HDEL', KEYS[2], all[i])
      n = n + 1
    end
  end
  return n
end

-- ended tells whether an override is over. One that is yet to begin is not.
local function ended(override)
  local till = tonumber(override['until']) or 0
  return till ~= 0 and till <= now
end

local function fail(code, revision) return { code, now, revision or 0, 0 } end

local function done(code, created)
  redis.call('HSET', KEYS[1], 'limits', stamp)
  append()
  return { code, now, tonumber(stamp), created }
end

if op == 'clear' then
  local n = drop(function(o) return (o.project or '') == id end)
  return n > 0 and done(n, 0) or fail(0)
end

-- full tells whether there are so many, after what has ended has made room.
local function full(most)
  if redis.call('HLEN', KEYS[2]) < tonumber(most) then return false end
  drop(ended)
  local n = 0
  for _, text in ipairs(redis.call('HVALS', KEYS[2])) do
    if not decode(text).deleted then n = n + 1 end
  end
  return n >= tonumber(most)
end

local function write(override, revision, created)
  override.revision, override.created = revision, string.format('%.0f', created)
  redis.call('HSET', KEYS[2], id, cjson.encode(override))
end

local stored = redis.call('HGET', KEYS[2], id)
stored = stored and decode(stored)
local revision = stored and stamp_of(stored.revision) or 0
if op == 'copy' then
  if stored and revision >= tonumber(ARGV[3]) then return fail(0, revision) end
  local override = cjson.decode(ARGV[4])
  full(ARGV[6]) -- for the room; how many there may be was decided elsewhere
  write(override, ARGV[3], tonumber(ARGV[5]))
  return done(1, tonumber(ARGV[5]))
end

if stored and stored.deleted then stored = nil end
if op == 'delete' then
  if stored and not matches(stored, ARGV[3]) then return fail(-2) end
  if not stored and not ARGV[4] then return fail(-1) end
  if not stored then append = function() end end -- a mark, for what is nowhere or was lost
  if ARGV[4] then
    full(ARGV[5]) -- for the room
    write({ deleted = '1', ['until'] = string.format('%.0f', stamp + ARGV[4]) }, stamp, 0)
  else
    redis.call('HDEL', KEYS[2], id)
  end
  local reply = done(1, 0)
  if not stored then reply[1] = -1 end
  return reply
end

local override = cjson.decode(ARGV[4])
if not matches(stored, ARGV[3]) then return fail(-2) end
if ended({ ['until'] = ARGV[5] }) then return fail(-4) end
if not stored and full(ARGV[6]) then return fail(-3) end
local created = stored and stamp_of(stored.created) or 0
if created == 0 then created = now end
write(override, stamp, created)
return done(stored and 2 or 1, created)
