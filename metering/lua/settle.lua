-- Corrects a reservation to what was used; without one (lapsed, or never made) charges the use.
-- KEYS lim and res as in reserve.lua; settled: exists when this use has been charged
-- ARGV turn, tokens used, month, ms to remember it, idle ms
-- gives 1: corrected; 2: charged; 0: was done before
local lim, res, settled = KEYS[1], KEYS[2], KEYS[3]
local turn, used, month = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local bucket = math.floor((time[1] * 1000 + math.floor(time[2] / 1000)) / 300000)

local held = redis.call('HGET', lim, 'r:' .. turn)
if held then
  local size, of_bucket, of_month, conversation = held:match('^(%d+):(%d+):([^:]+):(.+)$')
  local change = used - size
  if tonumber(of_bucket) > bucket - 13 then redis.call('HINCRBY', lim, 'h:' .. of_bucket, change) end
  redis.call('HINCRBY', lim, 'm:' .. of_month, change)
  redis.call('HDEL', lim, 'r:' .. turn)
  redis.call('ZREM', res, turn)
  if redis.call('HINCRBY', lim, 'c:' .. conversation, -1) <= 0 then
    redis.call('HDEL', lim, 'c:' .. conversation)
    redis.call('HINCRBY', lim, 'sessions', -1)
  end
  redis.call('SET', settled, 1, 'PX', ARGV[4])
  return 1
end
if not redis.call('SET', settled, 1, 'PX', ARGV[4], 'NX') then return 0 end
if redis.call('HEXISTS', lim, 'ready') == 1 then
  redis.call('HINCRBY', lim, 'h:' .. bucket, used)
  redis.call('HINCRBY', lim, 'm:' .. month, used)
else
  redis.call('HINCRBY', lim, 'late', used)
end
redis.call('PEXPIRE', lim, ARGV[5])
return 2
