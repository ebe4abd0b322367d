-- Forgets the chunks of a series before ARGV[1], or all of the series if its last reading was before ARGV[2] ms.
-- KEYS: the series, its samples, its state.
local series, samples, state = KEYS[1], KEYS[2], KEYS[3]
local first, before_ms = tonumber(ARGV[1]), tonumber(ARGV[2])

local reading = redis.call('HGET', state, 'reading')
if not reading or tonumber(string.match(reading, '^%S+')) < before_ms then
  redis.call('UNLINK', series, samples, state)
else
  for _, slot in ipairs(redis.call('HKEYS', samples)) do
    if tonumber(slot) < first then
      redis.call('HDEL', samples, slot)
    end
  end
end
