-- Lets one caller fill the counters. What it will fill in holds for this hash only: emptied meanwhile, it is not taken.
-- KEYS lim and late as in reserve.lua
-- ARGV a name of the attempt, ms that it may take, idle ms
-- gives 1: go on; 0: the counters are whole, or another caller fills them
local lim, late = KEYS[1], KEYS[2]
if redis.call('HEXISTS', lim, 'ready') == 1 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = redis.call('HGET', lim, 'filling until')
if until_ms and tonumber(until_ms) > now then return 0 end
redis.call('HSET', lim, 'filling', ARGV[1], 'filling until', now + ARGV[2])
redis.call('PEXPIRE', lim, ARGV[3])
redis.call('DEL', late) -- a use is recorded before it is settled, so the ledger has these
return 1
