-- Corrects a reservation to what was used; without one (lapsed, or never made) charges the use.
-- KEYS lim, res and late as in reserve.lua; settled: exists when this use has been charged ("done"), or was counted with
--      the ledger ("counted": only its reservation is left to be given back)
-- ARGV turn, tokens used, month, ms to remember it, idle ms
-- gives 1: corrected; 2: charged; 0: was done before
local BUCKET_MS, BUCKETS = 300000, 13 -- as in counting.py
local lim, res, late, settled = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local turn, used, month = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local bucket = math.floor((time[1] * 1000 + math.floor(time[2] / 1000)) / BUCKET_MS)

local before = redis.call('SET', settled, 'done', 'PX', ARGV[4], 'GET')
if before == 'done' then return 0 end
if before == 'counted' then used = 0 end

local held = redis.call('HGET', lim, 'r:' .. turn)
if held then
  local size, of_bucket, of_month, conversation = held:match('^(%d+):(%d+):([^:]+):(.+)$')
  local change = used - size
  if tonumber(of_bucket) > bucket - BUCKETS then
    redis.call('HINCRBY', lim, 'h:' .. of_bucket, change)
    redis.call('HINCRBY', lim, 'hour', change)
  end
  redis.call('HINCRBY', lim, 'm:' .. of_month, change)
  redis.call('HDEL', lim, 'r:' .. turn)
  redis.call('ZREM', res, turn)
  if redis.call('HINCRBY', lim, 'c:' .. conversation, -1) <= 0 then
    redis.call('HDEL', lim, 'c:' .. conversation)
    redis.call('HINCRBY', lim, 'sessions', -1)
  end
  if not before and redis.call('HEXISTS', lim, 'ready') == 0 then -- what was corrected here will be set anew
    redis.call('HSET', late, settled, used)
    redis.call('PEXPIRE', late, ARGV[5])
  end
  return 1
end
if before then return 0 end
if redis.call('HEXISTS', lim, 'ready') == 1 then
  redis.call('HINCRBY', lim, 'h:' .. bucket, used)
  redis.call('HINCRBY', lim, 'hour', used)
  redis.call('HINCRBY', lim, 'm:' .. month, used)
  redis.call('PEXPIRE', lim, ARGV[5])
  redis.call('PEXPIRE', res, ARGV[5]) -- or a claim in the hash would outlive its time here, and never lapse
else
  redis.call('HSET', late, settled, used)
  redis.call('PEXPIRE', late, ARGV[5])
end
return 2
