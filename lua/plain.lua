-- plain.lua: decides the plain checks that batch.lua left: of several policies, without a frame, stale. Between state.lua and
-- audit.lua. A call without others ends here.

-- tell puts the stamps of an epoch into the reply, as they are stored.
local function tell(epoch)
  if epoch == 0 then return end
  local stamps = pcall('HMGET', KEYS[epoch], 'keys', 'limits')
  for i = 1, 2 do reply[#reply + 1] = integer(stamps[i] or '', 1, TIME) or 0 end
end

-- policies_of reads the policies of a check, and returns nothing where one is out of its bounds; then whether all are
-- those of the time.
local function policies_of(check)
  local policies, current, at, number, name = {}, true, check.at + 4, check.arg, check.key
  for i = 1, check.n do
    local t, u = byte(shape, at + 2 * i - 1, at + 2 * i)
    t = terms[t]
    local p = {
      kind = t.kind, algorithm = algorithm(t.kind), limit = integer(t.limit, 0, LIMIT), window = integer(t.window, 1, WINDOW),
      extra = integer(t.extra, 0, TIME), change = integer(t.change, KEEP, RESET), units = u, capacity = 0, holds = nil, counts = false,
      key = KEYS[name + 1], count = KEYS[name + 2], terms = t, before = nil, wanted = false,
    }
    if u == 0 then
      number = number + 1
      p.units = integer(ARGV[number], 0, LIMIT)
    end
    number, name = number + 1, name + 2
    p.before = ARGV[number]
    p.wanted = p.before ~= '-'
    if not (p.algorithm and p.kind ~= 'h' and p.limit and p.window and p.units) or not p.extra and t.extra ~= '-'
      or not p.change and t.change ~= '-' or not integer(t.from, 0, TIME) or not integer(t.till, 0, TIME) or not bounded(p) then
      return
    end
    policies[i], current = p, current and not t.late
  end
  return policies, current
end

-- framed charges a check by frames alone, and returns false, and has charged nothing, where one is missing.
local function framed(check, policies)
  local taken, fits = {}, check.times
  for i, p in ipairs(policies) do
    local sum = p.units * check.times * p.terms.step
    local sort, used, charged = charge(p.terms, p.before, p.count, p.units * check.times)
    if not sort then
      for j = 1, i - 1 do
        if taken[j].charged > 0 then call('INCRBY', policies[j].count, text(-taken[j].charged)) end
      end
      return false
    end
    local done = check.times
    if used > p.terms.room and sum > 0 then done = floor(math.max(p.terms.room - used + sum, 0) / (p.units * p.terms.step)) end
    taken[i], fits = { sort = sort, charged = charged, done = done }, math.min(fits, done)
  end
  reply[#reply + 1] = fits < check.times and 6 or 5
  if fits < check.times then reply[#reply + 1] = fits end
  for i, p in ipairs(policies) do
    local back = fits == 0 and taken[i].charged or (check.times - fits) * p.units * p.terms.step
    if fits < check.times then
      if back > 0 then call('INCRBY', p.count, text(-back)) end
      reply[#reply + 1] = taken[i].done
    end
    reply[#reply + 1] = taken[i].sort - (fits < check.times and back or 0)
  end
  return true
end

-- decided charges a check by what is stored.
local function decided(check, policies)
  local states, fits, r = {}, check.times, #reply + 2
  for i, p in ipairs(policies) do
    local s = load(p)
    s.done = p.capacity == 0 and 0 or p.units == 0 and check.times or math.min(floor(math.max(p.capacity - s.used, 0) / p.units), check.times)
    states[i], fits = s, math.min(fits, s.done)
  end
  reply[r - 1], reply[r] = 7, fits
  for i, p in ipairs(policies) do
    local s = states[i]
    if fits > 0 and p.units > 0 then
      if p.wanted or s.framed then frame(p, s, fits * p.units) end
      add(p, s, fits * p.units, now)
    end
    reply[r + 1], reply[r + 2], reply[r + 3], reply[r + 4], reply[r + 5] = s.done, s.start, s.window, s.current, s.previous
    reply[r + 6], reply[r + 7], reply[r + 8], reply[r + 9], reply[r + 10] = s.ends, s.capacity, s.change, s.generation or 0, s.before
    r = r + 10
  end
end

for _, check in ipairs(left or {}) do
  local first, second = byte(shape, check.at + 1, check.at + 2)
  local policies, current = policies_of(check)
  if not policies then
    reply[#reply + 1] = 3
  elseif late and (late[first] or late[second]) or not current then
    reply[#reply + 1] = 2
    tell(first)
    tell(second)
  elseif check.n == 1 and policies[1].units > 0 and policies[1].units < 256 or not framed(check, policies) then
    decided(check, policies)
  end
end
if arg == #ARGV then return reply end

