-- batch.lua: the front of admit.lua, which says what a call is. It compares epochs, each once for all checks that hold
-- it, and charges the plain checks that have frames. A call in which nothing else is asked ends here: what follows,
-- algorithms and all, is not even set up.
--
-- FRAME  Most checks add to a count and change nothing else of a state. Where a caller asks for it, that number is kept
--        in a key of its own, as generation * 2^31 + count, and the caller remembers the frame: the generation, and what
--        else decides. The generation is worked out of that and of the terms, and the state knows it too. One INCRBY then
--        charges, and tells whether the frame was the present one, or its equal; if not, it is taken back. Whatever else
--        is done to the state ends the frame (state.lua), so a count never holds on to what has changed. What is counted,
--        and what the caller remembers as `before`:
--          's'       the units of this window; those of the one before
--          'f', 'c'  the units of the window; when it began
--          'g'       the microseconds from a time until the bucket is empty; that time, which lies not behind, nor
--                    LATEST before now

local LIMIT, WINDOW, LEASE, TIME = 999999999999999, 34560000000000, 86400000000, 9007199254740991
local FRAME, FRAMED = 2147483648, 1073741824 -- where the generation begins; the most that is framed
local GENERATIONS = 4194301 -- a prime; the largest with a count is below 2^53
local LATEST = 3000000 -- a bucket is kept for so long after its state was written, and until it is empty
local call, pcall, byte, floor, tonumber = redis.call, redis.pcall, string.byte, math.floor, tonumber
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]

local function integer(text, low, high)
  local n = tonumber(text)
  return n and n >= low and n <= high and n % 1 == 0 and n
end

-- divide returns a * b / c rounded down, and the rest: exactly, for b and c up to LIMIT. A product beyond
-- 2^53 is divided digit by digit, in the largest base that keeps each step below that.
local function divide(a, b, c)
  local product = a * b
  if product <= TIME then return floor(product / c), product % c end
  local base, scale, quotient, rest = math.max(b, c) <= WINDOW and 128 or 4, 1, 0, 0
  while scale <= a / base do scale = scale * base end
  while scale >= 1 do
    rest = rest * base + floor(a / scale) * b
    quotient = quotient * base + floor(rest / c)
    rest, a, scale = rest % c, a % scale, scale / base
  end
  return quotient, rest
end

-- share returns units * part / whole rounded up.
local function share(units, part, whole)
  local quotient, rest = divide(units, part, whole)
  return rest > 0 and quotient + 1 or quotient
end

local reply, key, arg = { now }, 0, 0
local function next_key() key = key + 1; return KEYS[key] end
local function next_arg() arg = arg + 1; return ARGV[arg] end

-- stamp is one of an epoch, 0 where there is none.
local function stamp(text) return integer(text or '', 1, TIME) or 0 end

-- The epochs: the stamps that are stored, and whether they are others than the caller holds.
local shape, stamps, late = next_arg(), {}, {}
for i = 1, tonumber(next_arg()) do
  local keys, limits = next_arg(), next_arg()
  local stored = pcall('HMGET', next_key(), 'keys', 'limits')
  stamps[i], late[i] = stored, keys ~= '-' and keys ~= stored[1] or limits ~= '-' and limits ~= stored[2]
end

-- mark returns what the terms of a frame come to.
local function mark(t)
  local number = t.kind == 's' and floor(now / t.window) or 0
  return ((byte(t.kind) or 0) * 11 + t.limit % GENERATIONS * 31 + t.window % GENERATIONS * 1009 + (tonumber(t.extra) or 3) % GENERATIONS * 7919
    + (tonumber(t.change) or 4) * 104729 + number % GENERATIONS * 257) % GENERATIONS
end

-- generation returns that of a frame.
local function generation(marked, before) return (marked + before % GENERATIONS * 65537) % GENERATIONS + 1 end

-- The terms: what policies come to, for all checks that have them.
local terms = {}
for i = 1, tonumber(next_arg()) do
  local t = {
    kind = next_arg(), limit = integer(next_arg(), 0, LIMIT), window = integer(next_arg(), 1, WINDOW), extra = next_arg(), change = next_arg(),
  }
  local from, till = integer(next_arg(), 0, TIME), integer(next_arg(), 0, TIME)
  t.valid = t.limit and t.window and from and till and (t.extra == '-' or integer(t.extra, 0, TIME))
    and (t.change == '-' or integer(t.change, 0, 3))
  t.current = t.valid and now >= from and now < till
  t.step, t.room, t.mark = 1, t.limit, t.valid and mark(t) -- what a unit counts, and how much may be counted
  if t.valid and t.kind == 's' then
    t.left = t.window - now % t.window
  elseif t.valid and t.kind == 'g' then
    t.step = t.window / math.max(t.limit, 1)
    t.room = t.step * (integer(t.extra, 0, LIMIT) or 0)
  end
  terms[i] = t
end

-- What is asked of the policies of the check at hand.
local n, times = 0, 1
local term, units, count, shown, before, extra, after, done = {}, {}, {}, {}, {}, {}, {}, {}

-- read reads the policies of a check from the shape.
local function read(at)
  for i = 1, n do
    local t, u = byte(shape, at + 1, at + 2)
    at, t = at + 2, terms[t]
    term[i], units[i] = t, u > 0 and u or integer(next_arg(), 0, LIMIT)
    count[i], shown[i], before[i] = KEYS[key + 2], tonumber(ARGV[arg + 1]), integer(ARGV[arg + 2], 0, TIME)
    key, arg = key + 2, arg + 2
  end
  return at
end

-- back returns what a policy was charged so often; all of it, if that was all times.
local function back(i, often) return often * units[i] * term[i].step + (often == times and extra[i] or 0) end

-- uncount takes that back of the first few policies of a check.
local function uncount(policies, often)
  for i = 1, policies do
    local sum = back(i, often)
    if sum > 0 then call('INCRBY', count[i], -sum) end
  end
end

-- used returns what a frame counts against its policy, where that is `value` of the count by now, and whether it is a
-- frame of this time.
local function used(i, value, sum)
  local t, begun = term[i], before[i]
  if t.kind == 's' then
    return begun > 0 and value + share(begun, t.left, t.window) or value, value
  elseif t.kind == 'g' then
    if now < begun or now >= begun + LATEST then return end
    local ahead = begun + value - now
    if ahead < sum and sum > 0 then -- it was empty
      extra[i], ahead = sum - ahead, sum
      value = call('INCRBY', count[i], extra[i]) % FRAME
    end
    return ahead, value
  elseif now >= begun and now < begun + t.window then
    return value, value
  end
end

-- charge charges a check as often as it fits, up to its times, and puts that into the reply. It returns false, and has
-- charged nothing, where a policy has no frame, or not the present one.
local function charge()
  local fits = times
  for i = 1, n do
    local t = term[i]
    local g = shown[i] and before[i] and generation(t.mark, before[i])
    local sum = units[i] * times * t.step
    local value = g and t.room > 0 and sum <= FRAMED and sum % 1 == 0 and pcall('INCRBY', count[i], sum)
    if type(value) ~= 'number' then uncount(i - 1, times); return false end
    local sort, taken = value % FRAME
    extra[i] = 0
    if value - sort == g * FRAME then taken, sort = used(i, sort, sum) end
    if not taken then
      if value == sum then call('DEL', count[i]) elseif sum > 0 then call('INCRBY', count[i], -sum) end
      uncount(i - 1, times)
      return false
    end
    after[i], done[i] = sort, times
    if taken > t.room and sum > 0 then
      done[i] = floor(math.max(t.room - taken + sum, 0) / (units[i] * t.step))
      if done[i] < fits then fits = done[i] end
    end
  end
  local at = #reply + 1
  if fits == times then
    reply[at] = 5
    for i = 1, n do reply[at + i] = after[i] end
    return true
  end
  uncount(n, times - fits)
  reply[at], reply[at + 1] = 6, fits
  for i = 1, n do
    reply[at + 2 * i], reply[at + 2 * i + 1] = done[i], after[i] - back(i, times - fits)
  end
  return true
end

-- tell puts the stamps of an epoch into the reply, as they are stored.
local function tell(epoch)
  if epoch == 0 then return end
  reply[#reply + 1], reply[#reply + 2] = stamp(stamps[epoch][1]), stamp(stamps[epoch][2])
end

-- refusal returns the status of the check at hand if it is not to be decided, as admit.lua has them.
local function refusal(first, second)
  local status = (late[first] or late[second]) and 2
  for i = 1, n do
    if not term[i].valid or not units[i] then return 3 end
    status = status or not term[i].current and 2
  end
  return status
end

-- The plain checks. What cannot be answered here is left for later.
local left, at = {}, 0
while at < #shape do
  local first, second, times_, n_ = byte(shape, at + 1, at + 4)
  local from = { at + 4, key, arg, n_, times_ }
  n, times = n_, times_
  at = read(at + 4)
  local status = refusal(first, second)
  if status then
    reply[#reply + 1] = status
    if status == 2 then
      tell(first)
      tell(second)
    end
  elseif not charge() then
    left[#left + 1] = from
    reply[#reply + 1] = 7
  end
end
if #left == 0 and arg == #ARGV then return reply end

