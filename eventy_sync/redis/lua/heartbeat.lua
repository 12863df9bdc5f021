-- A worker says that it lives, and learns who else does.
-- begins with roots.lua
--
-- KEYS[1] next_event_id   KEYS[2] meta   KEYS[3] roots   KEYS[4] workers
-- ARGV[1] epoch   ARGV[2] root_id   ARGV[3] what to keep of the root   ARGV[4] worker_id
-- ARGV[5] what to keep of the worker   ARGV[6] channel   ARGV[7] message
--
-- Returns {last id given out, roots}, or {-1} when the epoch has changed.

if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then
    return {-1}
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[4], ARGV[4], ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[7])
return {tonumber(redis.call('GET', KEYS[1]) or '1') - 1, note_roots(KEYS[2], KEYS[3])}
