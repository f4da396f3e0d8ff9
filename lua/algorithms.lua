-- algorithms.lua: how each algorithm counts. Between batch.lua and state.lua.
--
-- Units  integers below 2^53, times in microseconds. Clock: TIME, once.
--
-- An algorithm is five functions of a policy p (state.lua, bounded) and a state s. start completes an empty
-- state. open brings a stored one, which has at, window, capacity, x, y and z, to the present, or returns
-- false where it does not count any more; one that begins a whole window in the future (a bucket: the time in
-- which it leaks empty), which only a clock that was set back can leave, is forgotten. used returns the units that count now; fill makes them another
-- number. add takes units or, below zero, gives back some that were taken at a time; it returns x, y and z.
-- A state then has
--   start, window      when the running window began, and its length
--   current, previous  the units of this window and of the one before
--   ends               when nothing of it matters any more

local function integer(text, low, high)
  local n = tonumber(text)
  return n and n >= low and n <= high and n % 1 == 0 and n
end

local KEEP, PROPORTIONAL, ADDITIVE, RESET = 0, 1, 2, 3
local made, make = {}, {}

-- algorithm returns the one of a kind, and makes it for the first that asks, or returns nothing if there is none.
local function algorithm(kind)
  if not made[kind] and make[kind] then made[kind] = make[kind]({}) end
  return made[kind]
end

local function sum(count, units) return math.max(math.min(count + units, 2 * LIMIT), 0) end

-- Fixed: `at` is the first charge, x the units since. A running window ends with the shorter of the window
-- it was last charged under and the effective one. A change that makes it longer does so from the next
-- charge on.
function make.f(fixed)
  function fixed.start() end
  function fixed.open(p, s)
    s.start, s.window, s.current, s.previous = s.at, math.min(s.window, p.window), s.x, 0
    s.ends = s.start + s.window
    return now < s.ends and s.start < now + s.window and s
  end
  function fixed.used(s) return s.current end
  function fixed.fill(p, s, units) s.current = units end
  function fixed.add(p, s, units, at)
    if units > 0 or at >= s.start then s.current = sum(s.current, units) end
    s.window, s.ends = p.window, s.start + p.window
    return s.current, 0, 0
  end
  return fixed
end

-- Sliding: `at` is the last charge, x and y the units of its window and the one before; windows are aligned
-- to the clock. When the window was changed, all that counted at the last charge counts as taken then.
function make.s(sliding)
  function sliding.start(p, s) s.start = now - now % p.window end
  function sliding.open(p, s)
    local start, current, previous = s.at - s.at % s.window, s.x, s.y
    local ends = start + (current > 0 and 2 or 1) * s.window
    if s.window ~= p.window then
      current, previous = current + share(previous, start + s.window - s.at, s.window), 0
      start = s.at - s.at % p.window
    end
    local passed = math.floor((now - start) / p.window)
    if passed == 1 then start, current, previous = start + p.window, 0, current end
    s.start, s.window, s.current, s.previous = start, p.window, current, previous
    s.ends = math.min(ends, start + 2 * p.window)
    return now < s.ends and start < now + p.window and s
  end
  function sliding.used(s)
    if s.previous == 0 then return s.current end
    return s.current + share(s.previous, math.min(s.start + s.window - now, s.window), s.window)
  end
  function sliding.fill(p, s, units) s.current, s.previous = units, 0 end
  function sliding.add(p, s, units, at)
    if units > 0 or at >= s.start then
      s.current = sum(s.current, units)
    elseif at >= s.start - s.window then
      s.previous = sum(s.previous, units)
    end
    s.at, s.ends = math.max(now, s.at), s.start + (s.current > 0 and 2 or 1) * s.window
    return s.current, s.previous, 0
  end
  return sliding
end

-- Calendar: `at` is the last charge, x the units since the window began, y how long after `at` it ends.
function make.c(calendar)
  local fixed = algorithm('f')
  function calendar.start(p, s) s.start = p.extra or now - now % p.window end
  function calendar.open(p, s)
    local start = p.extra or now - now % p.window
    if s.at < start or s.at >= start + p.window then return end
    s.start, s.window, s.current, s.previous = start, p.window, s.x, 0
    s.ends = math.min(s.at + s.y, start + p.window)
    return now < s.ends and s
  end
  calendar.used, calendar.fill = fixed.used, fixed.fill
  function calendar.add(p, s, units, at)
    if units > 0 or at >= s.start then s.current = sum(s.current, units) end
    s.at, s.ends = math.max(now, s.at), s.start + s.window
    return s.current, s.ends - s.at, 0
  end
  return calendar
end

-- GCRA: a bucket that holds burst units and leaks `limit` of them in a window. `at` is the last charge, x
-- the limit, and the bucket is empty y microseconds and z parts of 1/x of one after it. A state says when it
-- is empty (start), the parts (current) and the limit (previous). When the rate was changed, it leaks at the
-- faster one from the last charge to the next.
function make.g(gcra)
  function gcra.start(p, s) s.previous = p.limit end
  function gcra.open(p, s)
    local limit, left, parts = s.x, s.y, s.z
    if p.limit == 0 or limit < 1 or limit > WINDOW or left > WINDOW or parts >= limit then return end
    local units, rest = divide(left, limit, s.window)
    if units > 4 * LIMIT then return end
    if p.limit * s.window > limit * p.window then
      left, parts = divide(units + math.ceil((rest + parts) / s.window), p.window, p.limit)
      limit, s.window = p.limit, p.window
    end
    if s.at > now and s.at >= now + divide(s.capacity, s.window, limit) then return end
    s.start, s.current, s.previous = s.at + left, parts, limit
    s.ends = s.start + 1
    return s.start >= now and s
  end
  function gcra.used(s)
    if s.previous == 0 then return 0 end
    local units, rest = divide(s.start - now, s.previous, s.window)
    return units + math.ceil((rest + s.current) / s.window)
  end
  function gcra.fill(p, s, units)
    local left, parts = divide(units, p.window, p.limit)
    s.start, s.current, s.window, s.previous = now + left, parts, p.window, p.limit
  end
  function gcra.add(p, s, units, at)
    if units < 0 then -- what leaked since then cannot be given back
      local since = math.max(math.min(now - at, WINDOW), 0)
      units = math.min(units + math.max(divide(since, p.limit, p.window), (divide(since, s.previous, s.window))), 0)
    end
    if s.window ~= p.window or s.previous ~= p.limit then gcra.fill(p, s, s.used) end
    local more, parts = divide(math.abs(units), p.window, p.limit)
    if units > 0 then
      s.start, s.current = s.start + more, s.current + parts
      if s.current >= p.limit then s.start, s.current = s.start + 1, s.current - p.limit end
    else
      s.start, s.current = s.start - more, s.current - parts
      if s.current < 0 then s.start, s.current = s.start - 1, s.current + p.limit end
    end
    if s.used + units > 2 * LIMIT then gcra.fill(p, s, 2 * LIMIT) end
    if s.start < now then s.start, s.current = now, 0 end
    if s.start > now + WINDOW then s.start, s.current = now + WINDOW, 0 end
    s.at, s.ends = s.generation and s.generation == s.framed and s.at or now, s.start + 1
    return p.limit, s.start - s.at, s.current
  end
  return gcra
end

-- Concurrency: a state of nothing; what counts is held.
function make.h(concurrency)
  local fixed = algorithm('f')
  concurrency.start, concurrency.used = fixed.start, fixed.used
  return concurrency
end

