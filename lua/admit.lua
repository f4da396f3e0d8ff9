-- admit.lua: decides checks; each check charges all of its policies or none.
--
-- KEYS   for each check: the org's epoch, if the check holds a stamp; then one state for each policy
-- ARGV   for each check:
--          keys, limits   the stamps that the caller holds; '-' is not compared
--          from, until    the Redis times between which the caller's limits are the effective ones
--          mode           'charge', or 'peek' to decide and write nothing
--          n              number of policies, 0 to 64, then for each:
--            algorithm    'f' fixed window from the first hit, 's' sliding window (two counters)
--            limit        units in a window; 0 refuses everything
--            window       microseconds
--            cost         units; 0 asks without taking
--            enforced     1, or 0 to report only: it never refuses, and takes only what fits
-- Reply  flat: now, then for each check: status, keys, limits (stored stamps; 0 where none), and, if the
--        status is 0 or 1, for each policy: fits (0 or 1), start, window, current, previous
--          status         0 refused, 1 allowed, 2 stale (charged nothing), 3 a number is out of bounds
--          start          when the running window began; it ends at start + window
--          current        units taken in it, this check's included; previous: in the one before
-- Units  integers below 2^53, times in microseconds. Clock: TIME, once.
-- TTL    PEXPIREAT of the moment when the state cannot matter any more, set with every write.
--
-- A state is '<algorithm>:<at>:<window>:<current>:<previous>', where `at` is the first charge of a fixed
-- window and the last charge of a sliding one. What cannot be read, whatever its type, counts as no
-- state and is replaced at the next charge, so that damage never locks anybody out.

local LIMIT, WINDOW, TIME = 999999999999999, 34560000000000, 9007199254740991
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]

local function integer(text, low, high)
  local n = tonumber(text)
  return n and n >= low and n <= high and n % 1 == 0 and n
end

-- share returns units * part / whole rounded up, exactly, for part <= whole < 2^45. A product beyond
-- 2^53 is divided digit by digit, in base 128.
local function share(units, part, whole)
  if units * part <= TIME then return math.ceil(units * part / whole) end
  local quotient, rest, scale = 0, 0, 128 ^ 7
  while scale >= 1 do
    rest = rest * 128 + math.floor(units / scale) * part
    quotient = quotient * 128 + math.floor(rest / whole)
    rest, units, scale = rest % whole, units % scale, scale / 128
  end
  return rest > 0 and quotient + 1 or quotient
end

-- Each algorithm brings a stored state to the present: open takes what was stored and the effective
-- window, and returns the running window as {at, start, window, current, previous}. A state that begins
-- a whole window in the future, which only a clock that was set back can leave, is forgotten.
local open = {}

-- A running fixed window ends with the shorter of the window it was last charged under and the
-- effective one. An override that makes it longer does so from the next charge on.
function open.f(at, window, current, previous, effective)
  local length = math.min(window, effective)
  if now >= at + length or at >= now + length then return end
  return { at = at, start = at, window = length, current = current, previous = 0 }
end

-- Sliding windows are aligned to the clock. When the window was changed, all that counted at the last
-- charge counts as taken at that moment.
function open.s(at, window, current, previous, effective)
  local start = at - at % window
  if now >= start + 2 * window then return end
  if window ~= effective then
    current, previous = current + share(previous, start + window - at, window), 0
    start = at - at % effective
  end
  local passed = math.floor((now - start) / effective)
  if passed >= 2 or start >= now + effective then return end
  if passed == 1 then start, current, previous = start + effective, 0, current end
  return { at = at, start = start, window = effective, current = current, previous = previous }
end

local first = { f = function() return now end, s = function(window) return now - now % window end }
local windows = { f = 1, s = 2 } -- how many windows a state lives

local function load(key, p)
  local value = redis.pcall('GET', key)
  local state
  if type(value) == 'string' then
    local kind, at, window, current, previous = string.match(value, '^(%a):(%d+):(%d+):(%d+):(%d+)$')
    at, window = integer(at, 0, TIME), integer(window, 1, WINDOW)
    current, previous = integer(current, 0, 2 * LIMIT), integer(previous, 0, 2 * LIMIT)
    if kind == p.algorithm and at and window and current and previous then
      state = open[kind](at, window, current, previous, p.window)
    end
  end
  return state or { at = now, start = first[p.algorithm](p.window), window = p.window, current = 0, previous = 0 }
end

local function used(s)
  if s.previous == 0 then return s.current end
  return s.current + share(s.previous, math.min(s.start + s.window - now, s.window), s.window)
end

local function charge(key, p, s)
  s.current = s.current + p.cost
  if p.algorithm == 'f' then s.window = p.window else s.at = math.max(now, s.at) end
  redis.call('SET', key,
    string.format('%s:%.0f:%.0f:%.0f:%.0f', p.algorithm, s.at, s.window, s.current, s.previous),
    'PXAT', string.format('%.0f', math.ceil((s.start + windows[p.algorithm] * s.window) / 1000)))
end

local reply, key, arg = { now }, 0, 0

local function next_key() key = key + 1; return KEYS[key] end
local function next_arg() arg = arg + 1; return ARGV[arg] end

-- policy reads one policy of a check, or nothing where a number is out of its bounds.
local function policy()
  local p = { algorithm = next_arg() }
  p.limit, p.window = integer(next_arg(), 0, LIMIT), integer(next_arg(), 1, WINDOW)
  p.cost, p.enforced = integer(next_arg(), 0, LIMIT), next_arg() == '1'
  return open[p.algorithm] and p.limit and p.window and p.cost and p
end

-- status writes the head of a check's answer.
local function status(code, keys, limits)
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = code, keys, limits
end

-- decide looks at every policy first and writes only when all enforced ones fit.
local function decide(policies, names, peek, keys, limits)
  local allowed, states = 1, {}
  for i, p in ipairs(policies) do
    local s = load(names[i], p)
    s.fits = p.limit > 0 and p.cost <= math.max(p.limit - used(s), 0)
    if p.enforced and not s.fits then allowed = 0 end
    states[i] = s
  end
  status(allowed, keys, limits)
  for i, p in ipairs(policies) do
    local s, n = states[i], #reply
    if allowed == 1 and not peek and s.fits and p.cost > 0 then charge(names[i], p, s) end
    reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4], reply[n + 5] =
      s.fits and 1 or 0, s.start, s.window, s.current, s.previous
  end
end

while arg < #ARGV do
  local held_keys, held_limits = next_arg(), next_arg()
  local from, till, peek, n = integer(next_arg(), 0, TIME), integer(next_arg(), 0, TIME), next_arg() == 'peek', integer(next_arg(), 0, #ARGV)
  if not n then return redis.error_reply('ERR admit: the number of policies is not one') end
  local keys, limits, stale = 0, 0, false
  if held_keys ~= '-' or held_limits ~= '-' then
    local stored = redis.pcall('HMGET', next_key(), 'keys', 'limits')
    keys, limits = integer(stored[1] or '', 1, TIME) or 0, integer(stored[2] or '', 1, TIME) or 0
    stale = held_keys ~= '-' and (keys == 0 or tonumber(held_keys) ~= keys)
      or held_limits ~= '-' and (limits == 0 or tonumber(held_limits) ~= limits)
  end
  local policies, names, valid = {}, {}, from and till and n <= 64
  for i = 1, n do
    names[i], policies[i] = next_key(), policy() or nil
    valid = valid and policies[i]
  end
  if not valid then
    status(3, keys, limits)
  elseif stale or now < from or now >= till then
    status(2, keys, limits)
  else
    decide(policies, names, peek, keys, limits)
  end
end
return reply
