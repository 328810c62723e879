-- Claims tokens and a session for one turn of one tenant, all or nothing.
--
-- KEYS lim  hash  ready             the counters are whole: filled from the ledger, and kept up since
--                 h:<bucket>        tokens in one bucket of five minutes; 13 of them cover the sliding hour
--                 m:<YYYY-MM>       tokens in one month
--                 r:<turn>          a live reservation, "tokens:bucket:month:conversation"
--                 c:<conversation>  how many live reservations it has; sessions: conversations that have one
--                 filling, filling until   who fills the counters; ms
--                 newest            the newest bucket that a reservation was in
--      res  zset  turn -> when its reservation lapses (ms)
--      late hash  of the other scripts: what was settled while not ready, for whoever fills the counters
-- ARGV turn, tokens, hour cap, month cap, session cap, lifetime ms, month, conversation, idle ms, doubt
-- gives {1, "new" or "again", tokens}; {0, what is used up, ms until it fits}; {2}: fill the counters first
local lim, res = KEYS[1], KEYS[2]
local turn, tokens, month, conversation = ARGV[1], tonumber(ARGV[2]), ARGV[7], ARGV[8]
local hour_cap, month_cap, session_cap = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME') -- this server's clock: callers' clocks differ
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bucket = math.floor(now / 300000)

-- One read and one write of the hash, because each call costs as much as all that is reckoned here
local fields = {'r:' .. turn, 'ready', 'newest', 'm:' .. month, 'sessions', 'c:' .. conversation}
local before = #fields -- then the hour's buckets, the oldest first
for age = 12, 0, -1 do fields[#fields + 1] = 'h:' .. (bucket - age) end
local last = #fields
local found = redis.call('HMGET', lim, unpack(fields))
if found[1] then -- asked again: the first claim, for another lifetime
  redis.call('ZADD', res, now + ARGV[6], turn)
  return {1, 'again', tonumber(found[1]:match('^%d+'))}
end
if ARGV[10] == '1' then redis.call('HDEL', lim, 'ready') end
if not found[2] or ARGV[10] == '1' then return {2} end

local lapsed = redis.call('ZRANGEBYSCORE', res, '-inf', now, 'LIMIT', 0, 50)
for _, dead in ipairs(lapsed) do
  local claim = redis.call('HGET', lim, 'r:' .. dead)
  if claim then
    local size, of_bucket, of_month, of = claim:match('^(%d+):(%d+):([^:]+):(.+)$')
    if tonumber(of_bucket) > bucket - 13 then redis.call('HINCRBY', lim, 'h:' .. of_bucket, -size) end
    redis.call('HINCRBY', lim, 'm:' .. of_month, -size)
    redis.call('HDEL', lim, 'r:' .. dead)
    if redis.call('HINCRBY', lim, 'c:' .. of, -1) <= 0 then
      redis.call('HDEL', lim, 'c:' .. of)
      redis.call('HINCRBY', lim, 'sessions', -1)
    end
  end
  redis.call('ZREM', res, dead)
end
if #lapsed > 0 then found = redis.call('HMGET', lim, unpack(fields)) end

local newest = tonumber(found[3] or bucket)
if newest < bucket then -- the hash lives for a day at most without use, so this is a short list
  local old = {}
  for b = math.max(newest, bucket - 400) - 13, bucket - 13 do old[#old + 1] = 'h:' .. b end
  redis.call('HDEL', lim, unpack(old))
end

local of_month, sessions, of_conversation = tonumber(found[4] or 0), tonumber(found[5] or 0), tonumber(found[6] or 0)
if of_month + tokens > month_cap then return {0, 'tokens_per_month', 0} end
local hour = 0
for i = before + 1, last do hour = hour + tonumber(found[i] or 0) end
if hour + tokens > hour_cap then
  local over, oldest = hour + tokens - hour_cap, before + 1
  while oldest < last and over > tonumber(found[oldest] or 0) do
    over = over - tonumber(found[oldest] or 0)
    oldest = oldest + 1
  end
  return {0, 'tokens_per_hour', (bucket + oldest - before) * 300000 - now}
end
if of_conversation == 0 and sessions >= session_cap then return {0, 'sessions', 0} end

local function whole(number) return string.format('%.0f', number) end
local changed = {
  fields[last], whole(tonumber(found[last] or 0) + tokens), fields[4], whole(of_month + tokens),
  fields[1], tokens .. ':' .. bucket .. ':' .. month .. ':' .. conversation, 'newest', bucket,
  fields[6], of_conversation + 1,
}
if of_conversation == 0 then
  changed[#changed + 1] = 'sessions'
  changed[#changed + 1] = sessions + 1
end
redis.call('HSET', lim, unpack(changed))
redis.call('ZADD', res, now + ARGV[6], turn)
if newest < bucket or sessions == 0 then -- a day is long: now and then is often enough
  redis.call('PEXPIRE', lim, ARGV[9])
  redis.call('PEXPIRE', res, ARGV[9])
end
return {1, 'new', tokens}
