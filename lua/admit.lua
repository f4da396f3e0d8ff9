-- admit.lua: decides checks; each check charges all of its policies or none.
--
-- KEYS   for each check: the org's epoch, if the check holds a stamp; then one state for each policy
-- ARGV   for each check:
--          keys, limits   the stamps that the caller holds; '-' is not compared
--          from, until    the Redis times between which the caller's limits are the effective ones
--          mode           'charge', or 'peek' to decide and write nothing
--          n              number of policies, 0 to 64, then for each:
--            algorithm    'f' fixed window from the first hit, 's' sliding window (two counters),
--                         'c' window of the clock or the calendar, 'g' GCRA (a bucket that leaks)
--            limit        units in a window; 0 refuses everything
--            window       microseconds
--            cost         units; 0 asks without taking
--            enforced     1, or 0 to report only: it never refuses, and takes only what fits
--            extra        'c': when the window began, '-' for one aligned to the clock
--                         'g': burst, the units that the bucket holds. Else '-'
-- Reply  flat: now, then for each check: status, keys, limits (stored stamps; 0 where none), and, if the
--        status is 0 or 1, for each policy: fits (0 or 1), start, window, current, previous
--          status         0 refused, 1 allowed, 2 stale (charged nothing), 3 a number is out of bounds
--          start          when the running window began; it ends at start + window
--          current        units taken in it, this check's included; previous: in the one before
--          of 'g'         start: when the bucket is empty; current: how much later, in 1/limit us
-- Units  integers below 2^53, times in microseconds. Clock: TIME, once.
-- TTL    PEXPIREAT of the moment when the state cannot matter any more, set with every write.
--
-- A state is '<algorithm>:<at>:<window>:<current>:<previous>'; what its numbers mean stands at each
-- algorithm. What cannot be read, whatever its type, counts as no state and is replaced at the next
-- charge, so that damage never locks anybody out.

local LIMIT, WINDOW, TIME = 999999999999999, 34560000000000, 9007199254740991
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]

local function integer(text, low, high)
  local n = tonumber(text)
  return n and n >= low and n <= high and n % 1 == 0 and n
end

-- divide returns a * b / c rounded down, and the rest: exactly, for b and c below 2^45. A product beyond
-- 2^53 is divided digit by digit, in base 128.
local function divide(a, b, c)
  local product = a * b
  if product <= TIME then return math.floor(product / c), product % c end
  local quotient, rest, scale = 0, 0, 128 ^ 7
  while scale >= 1 do
    rest = rest * 128 + math.floor(a / scale) * b
    quotient = quotient * 128 + math.floor(rest / c)
    rest, a, scale = rest % c, a % scale, scale / 128
  end
  return quotient, rest
end

-- share returns units * part / whole rounded up.
local function share(units, part, whole)
  local quotient, rest = divide(units, part, whole)
  return rest > 0 and quotient + 1 or quotient
end

-- An algorithm is four functions of a policy p and a state s. start makes a state of nothing. open brings
-- a stored one to the present, or returns nothing where it does not count any more; one that begins a
-- whole window in the future, which only a clock that was set back can leave, is forgotten. used returns
-- the units that count now. charge takes p.cost more, and returns when the state will not matter any more.
local algorithms = { f = {}, s = {}, c = {}, g = {} }
local fixed, sliding, calendar, gcra = algorithms.f, algorithms.s, algorithms.c, algorithms.g

local function state(at, start, window, current, previous)
  return { at = at, start = start, window = window, current = current, previous = previous }
end

-- Fixed: `at` is the first charge. A running window ends with the shorter of the window it was last
-- charged under and the effective one. An override that makes it longer does so from the next charge on.
function fixed.start(p) return state(now, now, p.window, 0, 0) end
function fixed.open(p, s)
  local length = math.min(s.window, p.window)
  if now >= s.at + length or s.at >= now + length then return end
  return state(s.at, s.at, length, s.current, 0)
end
function fixed.used(p, s) return s.current end
function fixed.charge(p, s)
  s.current, s.window = s.current + p.cost, p.window
  return s.start + s.window
end

-- Sliding: `at` is the last charge, windows are aligned to the clock. When the window was changed, all
-- that counted at the last charge counts as taken at that moment.
function sliding.start(p) return state(now, now - now % p.window, p.window, 0, 0) end
function sliding.open(p, s)
  local start, current, previous = s.at - s.at % s.window, s.current, s.previous
  if now >= start + 2 * s.window then return end
  if s.window ~= p.window then
    current, previous = current + share(previous, start + s.window - s.at, s.window), 0
    start = s.at - s.at % p.window
  end
  local passed = math.floor((now - start) / p.window)
  if passed >= 2 or start >= now + p.window then return end
  if passed == 1 then start, current, previous = start + p.window, 0, current end
  return state(s.at, start, p.window, current, previous)
end
function sliding.used(p, s)
  if s.previous == 0 then return s.current end
  return s.current + share(s.previous, math.min(s.start + s.window - now, s.window), s.window)
end
function sliding.charge(p, s)
  s.current, s.at = s.current + p.cost, math.max(now, s.at)
  return s.start + 2 * s.window
end

-- Calendar: `at` is the last charge, `previous` the end of the window that it was in. What was taken
-- since the window began counts, until that end.
function calendar.start(p)
  local start = p.extra or now - now % p.window
  return state(now, start, p.window, 0, start + p.window)
end
function calendar.open(p, s)
  local fresh = calendar.start(p)
  if s.at < fresh.start or s.at >= fresh.previous or now >= s.previous then return end
  fresh.at, fresh.current = s.at, s.current
  return fresh
end
calendar.used = fixed.used
function calendar.charge(p, s)
  s.current, s.at = s.current + p.cost, math.max(now, s.at)
  return s.previous
end

-- GCRA: a bucket that holds burst units and leaks `limit` of them in a window. It is empty at `at` and
-- `current` parts of 1/limit us; `previous` is the limit. When the rate was changed, the units in it stay;
-- it never holds more than burst, so a clock that was set back locks nobody out.
function gcra.start(p) return state(now, now, p.window, 0, p.limit) end
function gcra.open(p, s)
  local left, parts = s.at - now, s.current
  if left < 0 or p.limit == 0 or parts >= s.previous or s.previous > WINDOW then return end
  if left > WINDOW or s.window ~= p.window or s.previous ~= p.limit then
    local units, rest = divide(math.min(left, WINDOW), s.previous, s.window)
    left, parts = divide(math.min(units + math.ceil((rest + parts) / s.window), p.extra), p.window, p.limit)
  end
  local full, rest = divide(p.extra, p.window, p.limit)
  if left > full or left == full and parts > rest then left, parts = full, rest end
  return state(now + left, now + left, p.window, parts, p.limit)
end
function gcra.used(p, s)
  local units, rest = divide(s.at - now, s.previous, s.window)
  return units + math.ceil((rest + s.current) / s.window)
end
function gcra.charge(p, s)
  local more, parts = divide(p.cost, p.window, p.limit)
  s.at, s.current = s.at + more, s.current + parts
  if s.current >= p.limit then s.at, s.current = s.at + 1, s.current - p.limit end
  s.start = s.at
  return s.at + 1
end

-- load returns the state of a policy as it is now.
local function load(key, p)
  local value = redis.pcall('GET', key)
  if type(value) == 'string' then
    local kind, at, window, current, previous = string.match(value, '^(%a):(%d+):(%d+):(%d+):(%d+)$')
    local s = state(integer(at, 0, TIME), nil, integer(window, 1, WINDOW), integer(current, 0, 2 * LIMIT), integer(previous, 0, (kind == 'f' or kind == 's') and 2 * LIMIT or TIME))
    if kind == p.kind and s.at and s.window and s.current and s.previous then s = p.algorithm.open(p, s) else s = nil end
    if s then return s end
  end
  return p.algorithm.start(p)
end

local function charge(key, p, s)
  local ends = p.algorithm.charge(p, s)
  redis.call('SET', key, string.format('%s:%.0f:%.0f:%.0f:%.0f', p.kind, s.at, s.window, s.current, s.previous),
    'PXAT', string.format('%.0f', math.ceil(ends / 1000)))
end

local reply, key, arg = { now }, 0, 0

local function next_key() key = key + 1; return KEYS[key] end
local function next_arg() arg = arg + 1; return ARGV[arg] end

-- policy reads one policy of a check, or nothing where a number is out of its bounds. A bucket has to
-- leak empty within the longest window, which keeps all its products and quotients exact.
local function policy()
  local p = { kind = next_arg() }
  p.algorithm = algorithms[p.kind]
  p.limit, p.window = integer(next_arg(), 0, LIMIT), integer(next_arg(), 1, WINDOW)
  p.cost, p.enforced = integer(next_arg(), 0, LIMIT), next_arg() == '1'
  local extra = next_arg()
  p.extra = integer(extra, 0, TIME)
  if not (p.algorithm and p.limit and p.window and p.cost and (p.extra or extra == '-')) then return end
  p.capacity = p.limit
  if p.kind == 'g' then
    p.capacity = p.limit > 0 and p.extra or 0
    if not p.extra or p.limit > WINDOW or p.limit > 0 and p.extra * p.window > p.limit * WINDOW then return end
  end
  return p
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
    s.fits = p.capacity > 0 and p.cost <= math.max(p.capacity - p.algorithm.used(p, s), 0)
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
