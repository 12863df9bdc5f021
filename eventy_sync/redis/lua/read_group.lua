-- Return all that there is of a group.
--
-- KEYS[1] meta   KEYS[2] group:<name>   KEYS[3] :pending   KEYS[4] :leases   KEYS[5] :waiting   KEYS[6] :attempts
-- KEYS[7] :dead   KEYS[8] :checkpoints
--
-- Returns {epoch, awaiting or false, milliseconds since 1970, group, tokens and when they run out, leases, ids and
-- when they are due, attempts, dead, checkpoints}.

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'awaiting')
local time = redis.call('TIME')
return {
    meta[1], meta[2], time[1] * 1000 + math.floor(time[2] / 1000),
    redis.call('HGETALL', KEYS[2]),
    redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '+inf', 'WITHSCORES'),
    redis.call('HGETALL', KEYS[4]),
    redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', '+inf', 'WITHSCORES'),
    redis.call('HGETALL', KEYS[6]),
    redis.call('HGETALL', KEYS[7]),
    redis.call('HGETALL', KEYS[8]),
}
