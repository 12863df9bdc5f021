-- Take a worker off the list.
--
-- KEYS[1] workers   ARGV[1] worker_id   ARGV[2] its root_id
--
-- Returns 1 when no other worker of the root is left.

redis.call('HDEL', KEYS[1], ARGV[1])
for _, worker in ipairs(redis.call('HVALS', KEYS[1])) do
    if string.find(worker, ARGV[2], 1, true) then
        return 0
    end
end
return 1
