-- Finds the first sample of a series after a place. KEYS: its samples. ARGV: chunk and second of the place.
-- Answers with chunk and second, or nothing.
local samples, slot, after = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

local function second(chunk, at)
  local high, low = string.byte(chunk, at, at + 1)
  return high * 256 + low
end

local chunk = redis.call('HGET', samples, ARGV[1]) or ''
for at = 1, #chunk, 10 do
  if second(chunk, at) > after then
    return { slot, second(chunk, at) }
  end
end

local next
for _, name in ipairs(redis.call('HKEYS', samples)) do
  local other = tonumber(name)
  if other > slot and (not next or other < next) then
    next = other
  end
end
return next and { next, second(redis.call('HGET', samples, next), 1) }
