-- overrides.lua: changes the overrides of an org, and with the same step its `limits` stamp, so that
-- every cached limit of the org is old from then on.
--
-- KEYS   1 the org's epoch; 2 the org's overrides: a hash, id -> JSON
-- ARGV   'set',    id, expected, JSON, until, most   write one; at most so many for an org
--        'delete', id, expected                      remove one
--        'clear',  project                           remove all of a project ('' those of the whole org)
--          expected   the revision to change: 'any', 'absent', or a number
--          until      Redis time in microseconds when the override ends; 0 never
-- Reply  {code, now, revision, created}
--          code  'set': 1 created, 2 replaced. 'delete': 1. 'clear': how many
--                -1 not found, -2 another revision, -3 too many, -4 `until` has passed
-- Units  microseconds. Clock: TIME, once. TTL none: an override ends by its `until`.
--
-- The JSON has the members `project` and `until`, and others that only its readers look at; all numbers in
-- it are strings, since a Lua number prints 14 digits only. The script adds `revision`, which is the stamp of
-- the change, and `created`.

local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local op, id = ARGV[1], ARGV[2]

-- Damage must not stand in the way of its repair: what is no stamp counts as none, what is no override
-- as one without members.
local stamp = tonumber(redis.call('HGET', KEYS[1], 'limits') or '')
stamp = stamp and stamp >= 1 and stamp < 9007199254740991 and math.floor(stamp) or 0
stamp = string.format('%.0f', math.max(now, stamp + 1))

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

local function fail(code) return { code, now, 0, 0 } end

local function done(code, created)
  redis.call('HSET', KEYS[1], 'limits', stamp)
  return { code, now, tonumber(stamp), created }
end

if op == 'clear' then
  local n = drop(function(o) return (o.project or '') == id end)
  return n > 0 and done(n, 0) or fail(0)
end

local stored = redis.call('HGET', KEYS[2], id)
stored = stored and decode(stored)
if op == 'delete' then
  if not stored then return fail(-1) end
  if not matches(stored, ARGV[3]) then return fail(-2) end
  redis.call('HDEL', KEYS[2], id)
  return done(1, 0)
end

local override = cjson.decode(ARGV[4])
if not matches(stored, ARGV[3]) then return fail(-2) end
if ended({ ['until'] = ARGV[5] }) then return fail(-4) end
if not stored and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[6]) and drop(ended) == 0 then return fail(-3) end
local created = stored and tonumber(stored.created) or now
override.revision, override.created = stamp, string.format('%.0f', created)
redis.call('HSET', KEYS[2], id, cjson.encode(override))
return done(stored and 2 or 1, created)
