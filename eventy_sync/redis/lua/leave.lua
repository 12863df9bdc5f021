-- A worker ends: it is taken off the list, and its root is closed if no other worker of it is left.
-- begins with roots.lua
--
-- KEYS[1] workers   KEYS[2] meta   KEYS[3] roots
-- ARGV[1] epoch   ARGV[2] worker_id   ARGV[3] root_id   ARGV[4] what to keep of the root if others are left
-- ARGV[5] what to keep of it if it is closed
--
-- Returns 1 when no other worker of the root is left.  Of the root nothing is kept when the epoch has changed: it must
-- say first how far its log goes.

redis.call('HDEL', KEYS[1], ARGV[2])
local is_last = 1
for _, worker in ipairs(redis.call('HVALS', KEYS[1])) do
    if string.find(worker, ARGV[3], 1, true) then
        is_last = 0
    end
end
if redis.call('HGET', KEYS[2], 'epoch') == ARGV[1] then
    redis.call('HSET', KEYS[3], ARGV[3], ARGV[4 + is_last])
    note_roots(KEYS[2], KEYS[3])
end
return is_last
