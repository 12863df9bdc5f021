-- Let a claim last on, or free it, if it is held by this worker under this token.
--
-- KEYS[1] claim:<claim id>   KEYS[2] meta   KEYS[3] claims   KEYS[4] claim_ids   KEYS[5] claim_holders
--
-- ARGV[1] epoch   ARGV[2] claim id   ARGV[3] worker_id   ARGV[4] token   ARGV[5] milliseconds it lasts, 0 to free it
-- ARGV[6] JSON of the claim as it is then   ARGV[7] channel   ARGV[8] the message for the others when it is freed
--
-- Returns 1, 0 when it is not held so, or -1 when the epoch has changed.

if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then
    return -1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holder = ARGV[3] .. ' ' .. ARGV[4]
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then  -- another program has put something there that is not even a text
    return string.find(tostring(held.err), 'WRONGTYPE', 1, true) and 0 or held
elseif held then
    local is_json, claim = pcall(cjson.decode, held)
    if not is_json or type(claim) ~= 'table' or claim.worker_id ~= ARGV[3] or claim.token ~= tonumber(ARGV[4]) then
        return 0
    end
else  -- evicted, if it has not ended; and it may be another's who has taken it since
    local ends = redis.call('ZSCORE', KEYS[3], ARGV[2])
    if not ends or tonumber(ends) <= now or redis.call('HGET', KEYS[5], ARGV[2]) ~= holder then
        return 0
    end
end
if ARGV[5] == '0' then
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[3], ARGV[2])
    redis.call('ZREM', KEYS[4], ARGV[2])
    redis.call('HDEL', KEYS[5], ARGV[2])
    redis.call('PUBLISH', ARGV[7], ARGV[8])
else
    redis.call('SET', KEYS[1], ARGV[6], 'PX', ARGV[5])
    redis.call('ZADD', KEYS[3], string.format('%d', now + ARGV[5]), ARGV[2])  -- the server may have lost an index alone
    redis.call('ZADD', KEYS[4], 0, ARGV[2])
    redis.call('HSET', KEYS[5], ARGV[2], holder)
end
return 1
