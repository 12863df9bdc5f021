-- Take a claim unless somebody holds it.
--
-- KEYS[1] claim:<claim id>   KEYS[2] meta   KEYS[3] claims: ids by the millisecond they end   KEYS[4] claim_ids
-- KEYS[5] claim_holders: by id, worker and token
--
-- ARGV[1] epoch   ARGV[2] session   ARGV[3] claim id   ARGV[4] milliseconds it lasts
-- ARGV[5] JSON of the claim up to its token   ARGV[6] the root's last token
-- ARGV[7] channel   ARGV[8] the message for the others up to its token   ARGV[9] worker_id
--
-- Returns the fencing token, 0 when it is held, or -1 when the epoch has changed, the session is void, or other
-- roots have not yet said which claims they hold.

local meta = redis.call('HMGET', KEYS[2], 'epoch', 'awaiting', 'token', 'void')
if meta[1] ~= ARGV[1] or meta[2] or (meta[4] and string.find(meta[4], ARGV[2], 1, true)) then
    return -1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[3], ARGV[3])
if ends and tonumber(ends) > now then  -- also where the claim itself was evicted: its holder goes on
    return 0
end
local token = math.max(tonumber(meta[3] or '0'), tonumber(ARGV[6])) + 1
local digits = string.format('%d', token)
if not redis.call('SET', KEYS[1], ARGV[5] .. digits .. '}', 'NX', 'PX', ARGV[4]) then
    return 0
end
redis.call('HSET', KEYS[2], 'token', digits)
if token % 16 == 0 then
    for _, ended in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 50)) do
        redis.call('ZREM', KEYS[3], ended)
        redis.call('ZREM', KEYS[4], ended)
        redis.call('HDEL', KEYS[5], ended)
    end
end
redis.call('ZADD', KEYS[3], string.format('%d', now + ARGV[4]), ARGV[3])
redis.call('ZADD', KEYS[4], 0, ARGV[3])
redis.call('HSET', KEYS[5], ARGV[3], ARGV[9] .. ' ' .. digits)
redis.call('PUBLISH', ARGV[7], ARGV[8] .. digits .. '}')
return token
