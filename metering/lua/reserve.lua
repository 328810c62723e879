-- Claims tokens and a session for one turn of one tenant, all or nothing.
--
-- KEYS lim  hash  ready             the counters are whole: filled from the ledger, and kept up since
--                 h:<bucket>        tokens in one bucket of five minutes; 13 of them cover the sliding hour
--                 hour              tokens in the 13 buckets up to the newest: each script keeps it up, the first
--                                   reservation of a bucket adds up anew
--                 newest            the newest bucket that a reservation was in
--                 m:<YYYY-MM>       tokens in one month
--                 r:<turn>          a live reservation, "tokens:bucket:month:conversation"
--                 c:<conversation>  how many live reservations it has; sessions: conversations that have one
--                 look              when to look for lapsed reservations again; ms
--                 filling, filling until   who fills the counters; ms
--      res  zset  turn -> when its reservation lapses (ms)
--      late hash  of the other scripts: what was settled while not ready, for whoever fills the counters
-- ARGV turn, tokens, hour cap, month cap, session cap, lifetime ms, month, conversation, idle ms, doubt
-- gives {1, "new" or "again", tokens}; {0, what is used up, ms until it fits}; {2}: fill the counters first
local BUCKET_MS, BUCKETS = 300000, 13 -- as in counting.py
local LOOK_MS, LAPSED_AT_ONCE = 1000, 50
local lim, res = KEYS[1], KEYS[2]
local turn, tokens, month, conversation = ARGV[1], tonumber(ARGV[2]), ARGV[7], ARGV[8]
local hour_cap, month_cap, session_cap = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME') -- this server's clock: callers' clocks differ
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bucket = math.floor(now / BUCKET_MS)
-- One read and one write of the hash, because each call costs as much as all that is reckoned here
local fields = {
  'r:' .. turn, 'ready', 'newest', 'look', 'hour', 'h:' .. bucket, 'm:' .. month, 'sessions', 'c:' .. conversation,
}
local claimed, ready, newest, look, hour, in_bucket, in_month, sessions, of_conversation
local function read()
  claimed, ready, newest, look, hour, in_bucket, in_month, sessions, of_conversation =
    unpack(redis.call('HMGET', lim, unpack(fields)))
  in_bucket, in_month = tonumber(in_bucket or 0), tonumber(in_month or 0)
  sessions, of_conversation = tonumber(sessions or 0), tonumber(of_conversation or 0)
end

read()
if claimed then -- asked again: the first claim, for another lifetime
  redis.call('ZADD', res, now + ARGV[6], turn)
  return {1, 'again', tonumber(claimed:match('^%d+'))}
end
if ARGV[10] == '1' then redis.call('HDEL', lim, 'ready') end
if not ready or ARGV[10] == '1' then return {2} end

newest = tonumber(newest)
local is_new_bucket = newest < bucket
if is_new_bucket or not hour then
  local old, names, sum = {}, {}, 0 -- 400: more than the 288 buckets that the hash lives without use
  for b = math.max(newest, bucket - 400) - BUCKETS, bucket - BUCKETS do old[#old + 1] = 'h:' .. b end
  redis.call('HDEL', lim, unpack(old))
  for b = bucket - BUCKETS + 1, bucket do names[#names + 1] = 'h:' .. b end
  for _, size in ipairs(redis.call('HMGET', lim, unpack(names))) do sum = sum + tonumber(size or 0) end
  redis.call('HSET', lim, 'newest', bucket, 'hour', sum)
  hour = sum
end

local function what_is_used_up()
  if in_month + tokens > month_cap then return 'tokens_per_month' end
  if hour + tokens > hour_cap then return 'tokens_per_hour' end
  if of_conversation == 0 and sessions >= session_cap then return 'sessions' end
end

local used_up = what_is_used_up()
if used_up or now >= tonumber(look or 0) then -- give back what has lapsed: now and then, and before it is missed
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', res, '-inf', now, 'LIMIT', 0, LAPSED_AT_ONCE)) do
    local claim = redis.call('HGET', lim, 'r:' .. dead)
    if claim then
      local size, of_bucket, of_month, of = claim:match('^(%d+):(%d+):([^:]+):(.+)$')
      if tonumber(of_bucket) > bucket - BUCKETS then
        redis.call('HINCRBY', lim, 'h:' .. of_bucket, -size)
        redis.call('HINCRBY', lim, 'hour', -size)
      end
      redis.call('HINCRBY', lim, 'm:' .. of_month, -size)
      redis.call('HDEL', lim, 'r:' .. dead)
      if redis.call('HINCRBY', lim, 'c:' .. of, -1) <= 0 then
        redis.call('HDEL', lim, 'c:' .. of)
        redis.call('HINCRBY', lim, 'sessions', -1)
      end
    end
    redis.call('ZREM', res, dead)
  end
  redis.call('HSET', lim, 'look', now + LOOK_MS)
  read()
  used_up = what_is_used_up()
end

if used_up == 'tokens_per_hour' then
  local over, oldest = hour + tokens - hour_cap, bucket - BUCKETS + 1
  while oldest < bucket do
    over = over - tonumber(redis.call('HGET', lim, 'h:' .. oldest) or 0)
    if over <= 0 then break end
    oldest = oldest + 1
  end
  return {0, used_up, (oldest + BUCKETS) * BUCKET_MS - now}
end
if used_up then return {0, used_up, 0} end

redis.call(
  'HSET', lim, 'r:' .. turn, tokens .. ':' .. bucket .. ':' .. month .. ':' .. conversation,
  'hour', hour + tokens, 'h:' .. bucket, in_bucket + tokens, 'm:' .. month, in_month + tokens,
  'sessions', of_conversation == 0 and sessions + 1 or sessions, 'c:' .. conversation, of_conversation + 1
)
redis.call('ZADD', res, now + ARGV[6], turn)
if is_new_bucket or sessions == 0 then -- a day is long: now and then is often enough
  redis.call('PEXPIRE', lim, ARGV[9])
  redis.call('PEXPIRE', res, ARGV[9])
end
return {1, 'new', tokens}
