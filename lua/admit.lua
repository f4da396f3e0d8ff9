-- admit.lua: decides checks; each check charges all of its policies or none. After batch.lua, audit.lua,
-- algorithms.lua and state.lua, which are part of the script.
--
-- Plain checks come first: they take units at once, of policies that are enforced, and nothing else is asked of them.
--
-- KEYS   the epochs of the plain checks, each once; for each plain check, for each policy, its state and
--        its count; then for each other check: its epochs; then what is revoked of the org, if there is a token; then
--        for each policy its state, its count, and its holds if it has any ('h' has nothing else); then the audit
--        trail, if there is an entry for it
-- ARGV   shape          of the plain checks, bytes: for each, two epochs (places among those that follow, 0 for none), times,
--                       the number of its policies; for each policy its terms (a place), units (0: they stand below)
--        epochs         how many, up to 255; for each:
--          keys, limits   the stamps that the caller holds; '-' is not compared
--        terms          how many, up to 255; for each:
--          algorithm, limit, window, extra, change, from, until  as below
--        then for each plain check, for each policy: units, if the shape has none; then
--          before         of the frame that the caller knows; '+' asks for one; '-' does not
--        then for each other check:
--          epochs         how many are compared, 0 to 2; then for each the stamps that the caller holds:
--            keys, limits   '-' is not compared
--          names          that a token can be revoked under, 0 to 4; 0: there is no token. Then, if there are any:
--            issued, name...  when it was made, in seconds since 1970, what is none if it does not tell; as in revocation.lua
--          from, until    the Redis times between which the caller's limits are the effective ones
--          mode           'charge'   take the units, or hold them, if all of it fits
--                         'peek'     the same, and write nothing
--                         'settle'   end holds and take the units instead, whatever the limit is
--                         'renew'    make holds last for the whole lease again
--                         'refund'   give back units that were taken at a time
--                         'reset'    forget what was taken and held
--          id, at         of what is held; when it was taken. '-' where the mode needs none
--          n              number of policies, 0 to 64, then for each what follows; after them, with 'reset' alone,
--          text, sum, seal  of the audit entry, '' for none. It is appended where there was something to forget
-- POLICY     algorithm    'f' fixed window from the first hit, 's' sliding window (two counters),
--                         'c' window of the clock or the calendar, 'g' GCRA (a bucket that leaks),
--                         'h' concurrency (nothing but what is held)
--            limit        units in a window, or at once; 0 refuses everything
--            window       microseconds
--            extra        'c': when the window began, '-' for one aligned to the clock
--                         'g': burst, the units that the bucket holds. Else '-'
--            change       what becomes of units that were taken under another capacity: 0 keep what was
--                         used, 1 the same part of it, 2 keep what was available, 3 nothing; '-' as it was
--            lease        how long a hold lasts; 0 takes at once; '-' if the policy has no holds
--            units        to take, hold or give back
--            role         1 enforced; 0 monitored: never refuses, and takes only what fits; 2 candidate: as
--                         monitored, and takes that even where another policy refuses, unless it holds.
--                         'settle' and 'renew': the units that are held
-- Reply  flat: now; then for each plain check its status:
--          2              and for each epoch keys, limits (stored stamps; 0 where none)
--          3
--          5              it fits, so often as it is asked; for each policy what its frame counts now
--          6              and how often it fits; for each policy how often that fits by itself, and what its frame counts
--          7              it is answered behind all plain checks: by one of the above, or by 7, how often it fits, and for
--                         each policy: how often that fits by itself, start, window, current, previous, ends, was,
--                         change, and of its frame the generation and before, 0 if it has none
--        then for each other check: status; for each epoch keys, limits;
--        and, if the status is 0 or 1, for each policy: done, held, start, window, current, previous, ends,
--        was, change
--          status         0 refused, 1 allowed, 2 stale (did nothing), 3 a number is out of bounds, 4 the token is
--                         revoked (did nothing), whether or not it is stale as well
--          done           'charge', 'peek': 1 if it fits, else 0; 'settle', 'renew': 1, or 0 if there is no
--                         such hold (any more), and then nothing was taken; 'refund': units given back; 'reset': 1
--          held           units that are held now; they count besides the others
--          start .. ends  the state, as algorithms.lua says
--          was, change    the capacity that its units were taken under, and what becomes of them

local modes = {}
local ISSUED = 9007199254 -- in seconds the last that is before the largest stamp

-- What decides looks at every policy first and writes only when all enforced ones fit.
local function decide(policies, id, peek)
  local allowed, states = 1, {}
  for i, p in ipairs(policies) do
    local s = load(p)
    s.done = p.capacity > 0 and p.units <= math.max(p.capacity - s.used - s.held, 0) and 1 or 0
    if p.role == 1 and s.done == 0 then allowed = 0 end
    states[i] = s
  end
  for i, p in ipairs(policies) do
    local s, holds = states[i], p.lease and p.lease > 0
    if s.done == 1 and p.units > 0 and not peek and (allowed == 1 or p.role == 2 and not holds) then
      if holds then hold(p, s, p.units, id) else add(p, s, p.units, now) end
    end
  end
  return allowed, states
end

function modes.charge(policies, id) return decide(policies, id, false) end
function modes.peek(policies, id) return decide(policies, id, true) end

-- each calls a function of every policy and its state, which returns what was done.
local function each(policies, act)
  local states = {}
  for i, p in ipairs(policies) do
    states[i] = load(p)
    states[i].done = act(p, states[i])
  end
  return 1, states
end

function modes.settle(policies, id)
  return each(policies, function(p, s)
    if not p.holds or not holding(p, p.role, id) then return 0 end
    release(p, s, p.role, id)
    if p.units > 0 and p.capacity > 0 and p.kind ~= 'h' then add(p, s, p.units, now) end
    return 1
  end)
end

function modes.renew(policies, id)
  return each(policies, function(p, s)
    if not p.holds or p.lease == 0 or not holding(p, p.role, id) then return 0 end
    hold(p, s, p.role, id)
    return 1
  end)
end

function modes.refund(policies, _, at)
  return each(policies, function(p, s)
    local used = s.used
    if used > 0 and p.units > 0 and p.capacity > 0 then add(p, s, -p.units, at) end
    return math.min(used - s.used, p.units)
  end)
end

function modes.reset(policies, _, _, append)
  local gone = 0
  for _, p in ipairs(policies) do
    gone = gone + redis.call('DEL', p.key)
    if p.holds then gone = gone + redis.call('DEL', p.holds) end
    if p.count then redis.call('DEL', p.count) end
  end
  if gone > 0 then append() end
  return each(policies, function() return 1 end)
end

local function next_key() key = key + 1; return KEYS[key] end
local function next_arg() arg = arg + 1; return ARGV[arg] end

-- policy reads one (admit.lua, POLICY), or returns nothing where a number is out of its bounds.
local function policy()
  local p = { key = next_key(), kind = next_arg() }
  p.count = p.kind ~= 'h' and next_key() or nil
  p.algorithm = algorithm(p.kind)
  p.limit, p.window = integer(next_arg(), 0, LIMIT), integer(next_arg(), 1, WINDOW)
  local extra, change, lease = next_arg(), next_arg(), next_arg()
  p.extra, p.change, p.lease = integer(extra, 0, TIME), integer(change, KEEP, RESET), integer(lease, 0, LEASE)
  p.units, p.role = integer(next_arg(), 0, LIMIT), integer(next_arg(), 0, LIMIT)
  p.holds = lease ~= '-' and (p.kind == 'h' and p.key or next_key()) or nil
  if not (p.algorithm and p.limit and p.window and p.units and p.role) or not p.extra and extra ~= '-'
    or not p.change and change ~= '-' or not p.lease and lease ~= '-' or p.kind == 'h' and (p.lease or 0) == 0 then
    return
  end
  return bounded(p)
end

-- compare reads the epochs of a check into the reply, and returns whether one is not what the caller holds.
local function compare(epochs)
  local stale = false
  for _ = 1, epochs do
    local held = { next_arg(), next_arg() }
    local stamps = redis.pcall('HMGET', next_key(), 'keys', 'limits')
    for i = 1, 2 do
      local stamp = integer(stamps[i] or '', 1, TIME) or 0
      stale = stale or held[i] ~= '-' and (stamp == 0 or tonumber(held[i]) ~= stamp)
      reply[#reply + 1] = stamp
    end
  end
  return stale
end

-- revoked reads the token of a check, and returns whether one of its names is revoked: whether an entry, as
-- revocation.lua writes them, has not ended and is later than the token. What cannot be read revokes: closed by default.
local function revoked(names)
  local issued, fields = (integer(next_arg(), 0, ISSUED) or 0) * 1000000, {}
  for i = 1, names do fields[i] = next_arg() end
  local entries = redis.pcall('HMGET', next_key(), unpack(fields))
  if entries.err then return true end
  for i = 1, names do
    if entries[i] then
      local stamp, till = string.match(entries[i], '^(%d+) (%d+) %d+ ')
      stamp, till = integer(stamp or '', 1, TIME), integer(till or '', 1, TIME)
      if not stamp or not till or now < till and issued < stamp then return true end
    end
  end
  return false
end

-- entry reads that of a reset, and returns what appends it.
local function entry()
  local text, sum, seal = next_arg(), next_arg(), next_arg()
  return trail(text and text ~= '' and next_key(), text, sum, seal)
end

while arg < #ARGV do
  local epochs, status = integer(next_arg(), 0, 2), #reply + 1
  if not epochs then return redis.error_reply('ERR admit: the number of epochs is not one') end
  reply[status] = 3
  local stale = compare(epochs)
  local names = integer(next_arg(), 0, 4)
  if not names then return redis.error_reply('ERR admit: the number of names is not one') end
  local barred = names > 0 and revoked(names)
  local from, till, mode, id, at = integer(next_arg(), 0, TIME), integer(next_arg(), 0, TIME), modes[next_arg()], next_arg(), next_arg()
  at = integer(at, 0, TIME) or at == '-' and now
  local n = integer(next_arg(), 0, #ARGV)
  if not n then return redis.error_reply('ERR admit: the number of policies is not one') end
  local policies, valid = {}, from and till and mode and at and n <= 64
  for i = 1, n do
    policies[i] = policy() or nil
    valid = valid and policies[i]
  end
  local append = mode == modes.reset and entry()
  if valid and barred then
    reply[status] = 4
  elseif valid and (stale or now < from or now >= till) then
    reply[status] = 2
  elseif valid then
    local states
    reply[status], states = mode(policies, id, at, append)
    for _, s in ipairs(states) do
      local r = #reply
      reply[r + 1], reply[r + 2], reply[r + 3], reply[r + 4], reply[r + 5] = s.done, s.held, s.start, s.window, s.current
      reply[r + 6], reply[r + 7], reply[r + 8], reply[r + 9] = s.previous, s.ends, s.capacity, s.change
    end
  end
end
return reply
