-- batch.lua: the front of admit.lua, which says what a call is. It compares epochs, each once for all checks that hold
-- it, and charges the plain checks that have frames. A call in which nothing else is asked ends here: what follows is
-- not even set up, for in so short a script that costs more than the work.
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

-- generation returns that of a frame.
local function generation(mark, before) return (mark + before % GENERATIONS * 65537) % GENERATIONS + 1 end

-- text writes a number as INCRBY reads it: for a number itself Redis writes all digits of a double, and that takes as long
-- as the command.
local function text(n) return string.format('%.0f', n) end

-- frame_of returns what the policy with these terms goes by whose caller shows `before`: base is what the count is
-- above, and more is what counts besides. It returns false where no such frame can be the present one.
local function frame_of(t, before)
  local begun, frame = tonumber(before), false
  if begun and begun >= 0 and t.room > 0 then
    local more = 0
    if t.kind == 's' then
      more = begun > 0 and share(begun, t.left, t.window) or 0
    elseif t.kind == 'g' then
      more = now >= begun and now < begun + LATEST and begun - now
    else
      more = now >= begun and now < begun + t.window and 0
    end
    frame = more and { base = generation(t.mark, begun) * FRAME, more = more }
  end
  t.frames[before] = frame
  return frame
end

-- word_of returns what is added to a count for so many units, as a text, or false where that cannot be framed.
local function word_of(t, units)
  local sum = units * t.step
  local word = sum <= FRAMED and sum % 1 == 0 and text(sum)
  t.words[-units] = word
  return word
end

-- settle looks at what a count came to when a sum was added, and returns what it says, what of that counts against the
-- policy, and what the charge came to. It returns nothing, and has charged nothing, where the frame is not the present one.
local function settle(t, frame, count, sum, value)
  if type(value) ~= 'number' then return end
  local sort = value - frame.base
  if sort < 0 or sort > FRAMED then
    if value == sum then call('DEL', count) elseif sum > 0 then call('INCRBY', count, text(-sum)) end
    return
  end
  local used = sort + frame.more
  if t.kind == 'g' and used < sum and sum > 0 then -- it was empty
    local more = sum - used
    return call('INCRBY', count, text(more)) - frame.base, sum, sum + more
  end
  return sort, used, sum
end

-- charge charges a frame, and returns what settle does.
local function charge(t, before, count, units)
  local frame, word = t.frames[before], t.words[-units]
  if frame == nil then frame = frame_of(t, before) end
  if word == nil then word = word_of(t, units) end
  if frame and word then return settle(t, frame, count, units * t.step, pcall('INCRBY', count, word)) end
end

local shape, reply, arg = ARGV[1], { now }, 2

-- The epochs: those that are not as the caller holds them.
local key, late = tonumber(ARGV[2]), nil
for i = 1, key do
  local stored, keys, limits = pcall('HMGET', KEYS[i], 'keys', 'limits'), ARGV[arg + 1], ARGV[arg + 2]
  if keys ~= '-' and keys ~= stored[1] or limits ~= '-' and limits ~= stored[2] then
    late = late or {}
    late[i] = true
  end
  arg = arg + 2
end

-- The terms: what policies come to, for all checks that have them. step is what a unit counts, room how much may be counted,
-- and mark what the generations of their frames come from. Whether they are valid only matters where there is no frame,
-- which was told to valid ones.
local terms = {}
arg = arg + 1
for i = 1, tonumber(ARGV[arg]) do
  local kind, limit, window, extra = ARGV[arg + 1], tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 3]), ARGV[arg + 4]
  local from, till = tonumber(ARGV[arg + 6]), tonumber(ARGV[arg + 7])
  local step, change = kind == 'g' and window / math.max(limit, 1) or 1, ARGV[arg + 5]
  local number = kind == 's' and floor(now / window) or 0
  terms[i] = {
    kind = kind, limit = limit, window = window, extra = extra, change = change, from = from, till = till, step = step,
    room = kind == 'g' and step * (tonumber(extra) or 0) or limit, left = window - now % window,
    mark = ((byte(kind) or 0) * 11 + limit % GENERATIONS * 31 + window % GENERATIONS * 1009 + (tonumber(extra) or 3) % GENERATIONS * 7919
      + (tonumber(change) or 4) * 104729 + number % GENERATIONS * 257) % GENERATIONS,
    late = now < from or now >= till, frames = {}, words = {},
  }
  arg = arg + 7
end

-- The plain checks of one policy. What cannot be answered here is left for later.
local at, size, last, left = 0, #shape, 1, nil
while at < size do
  local first, second, times, n, t, units = byte(shape, at + 1, at + 6)
  t = n == 1 and terms[t]
  local sort, used, charged
  if t and units > 0 and not t.late and not (late and (late[first] or late[second])) then
    sort, used, charged = charge(t, ARGV[arg + 1], KEYS[key + 2], units * times)
  end
  if not sort then
    left = left or {}
    left[#left + 1] = { at = at, key = key, arg = arg, n = n, times = times }
    last = last + 1
    reply[last] = 7
  elseif used <= t.room then
    reply[last + 1], reply[last + 2] = 5, sort
    last = last + 2
  else
    local fits = floor(math.max(t.room - used + units * times * t.step, 0) / (units * t.step))
    local back = fits > 0 and (times - fits) * units * t.step or charged
    call('INCRBY', KEYS[key + 2], text(-back))
    reply[last + 1], reply[last + 2], reply[last + 3], reply[last + 4] = 6, fits, fits, sort - back
    last = last + 4
  end
  at, key, arg = at + 4 + 2 * n, key + 2 * n, arg + n
  if n == 1 then
    if units == 0 then arg = arg + 1 end
  else
    for i = 2 * n - 2, 0, -2 do
      if byte(shape, at - i) == 0 then arg = arg + 1 end
    end
  end
end
if not left and arg == #ARGV then return reply end

