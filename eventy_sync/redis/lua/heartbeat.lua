-- A worker says that it lives, and learns who else does.
--
-- KEYS[1] next_event_id   KEYS[2] meta   KEYS[3] roots   KEYS[4] workers
-- ARGV[1] epoch   ARGV[2] root_id   ARGV[3] what to keep of the root   ARGV[4] worker_id
-- ARGV[5] what to keep of the worker, "" when it ends   ARGV[6] channel   ARGV[7] message, "" for none
--
-- Returns {last id given out, roots}, or {-1} when the epoch has changed.

if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then
    return {-1}
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
if ARGV[5] == '' then
    redis.call('HDEL', KEYS[4], ARGV[4])
else
    redis.call('HSET', KEYS[4], ARGV[4], ARGV[5])
end
if ARGV[7] ~= '' then
    redis.call('PUBLISH', ARGV[6], ARGV[7])
end
return {tonumber(redis.call('GET', KEYS[1]) or '1') - 1, redis.call('HGETALL', KEYS[3])}
