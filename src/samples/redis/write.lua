-- Keeps one reading. KEYS: the series, its samples, its state.
-- ARGV: time to live, breach count, reading, breach, and then
--       outcome (a value or an error), chunk, record; an error has an empty chunk.
-- A chunk is ordered records of ten bytes: two for the second, eight for the value.
local series, samples, state = KEYS[1], KEYS[2], KEYS[3]
local ttl, count, reading, breach, outcome, slot, record = unpack(ARGV)

redis.call('SET', series, count, 'EX', ttl)
redis.call('HSET', state, 'reading', reading, 'breach', breach)
if slot == '' then
  redis.call('HSET', state, 'error', outcome)
else
  redis.call('HSET', state, 'last', outcome)
  redis.call('HDEL', state, 'error')

  local chunk = redis.call('HGET', samples, slot) or ''
  -- By arithmetic: Lua compares strings by the rules of a language, not by their bytes.
  local function second(text, at)
    local high, low = string.byte(text, at, at + 1)
    return high * 256 + low
  end
  local new = second(record, 1)
  local at = #chunk - 9
  while at > 0 and second(chunk, at) > new do
    at = at - 10
  end
  local keep = at + 9
  if at > 0 and second(chunk, at) == new then
    keep = at - 1
  end
  redis.call('HSET', samples, slot, string.sub(chunk, 1, keep) .. record .. string.sub(chunk, at + 10))
  redis.call('EXPIRE', samples, ttl)
end
redis.call('EXPIRE', state, ttl)
