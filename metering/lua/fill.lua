-- Sets the counters to what the ledger says, plus live reservations and what was settled meanwhile; once.
-- KEYS lim, res and late as in reserve.lua, then those that `settle` remembers the ledger's newest uses by
-- ARGV month, its tokens, idle ms, ms to remember, the attempt's name, then pairs: bucket, its tokens
-- gives 1: filled; 0: not what was begun: emptied meanwhile, or begun by another caller
local BUCKET_MS, BUCKETS = 300000, 13 -- as in counting.py
local lim, res, late = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HGET', lim, 'filling') ~= ARGV[5] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bucket = math.floor(now / BUCKET_MS)

-- A use that the ledger has is counted: its settle, before this or after, must not count it again
for i = 4, #KEYS do
  redis.call('HDEL', late, KEYS[i])
  redis.call('SET', KEYS[i], 'counted', 'PX', ARGV[4], 'NX')
end
local missing = 0
for _, tokens in ipairs(redis.call('HVALS', late)) do missing = missing + tokens end
redis.call('DEL', late)

local live = {}
redis.call('ZREMRANGEBYSCORE', res, '-inf', now)
for _, turn in ipairs(redis.call('ZRANGE', res, 0, -1)) do
  local claim = redis.call('HGET', lim, 'r:' .. turn)
  if claim then live[turn] = claim else redis.call('ZREM', res, turn) end
end

redis.call('DEL', lim)
redis.call('HSET', lim, 'ready', 1, 'newest', bucket, 'm:' .. ARGV[1], ARGV[2])
local function count(of_bucket, size)
  redis.call('HINCRBY', lim, 'h:' .. of_bucket, size)
  if tonumber(of_bucket) > bucket - BUCKETS then redis.call('HINCRBY', lim, 'hour', size) end
end
for i = 6, #ARGV, 2 do count(ARGV[i], ARGV[i + 1]) end
for turn, claim in pairs(live) do
  local size, of_bucket, of_month, conversation = claim:match('^(%d+):(%d+):([^:]+):(.+)$')
  redis.call('HSET', lim, 'r:' .. turn, claim)
  count(of_bucket, size)
  redis.call('HINCRBY', lim, 'm:' .. of_month, size)
  if redis.call('HINCRBY', lim, 'c:' .. conversation, 1) == 1 then redis.call('HINCRBY', lim, 'sessions', 1) end
end
if missing > 0 then
  count(bucket, missing)
  redis.call('HINCRBY', lim, 'm:' .. ARGV[1], missing)
end
redis.call('PEXPIRE', lim, ARGV[3])
return 1
