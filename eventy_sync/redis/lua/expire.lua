-- Take off roots that were not heard of for so long that nobody counts with them any more, with what was kept of them.
-- begins with roots.lua
--
-- KEYS[1] meta   KEYS[2] roots   ARGV[1] seconds   ARGV[2..] root_id and what is kept of it in `roots`, in turn
--
-- One that has spoken since stays, also one that has published within so many seconds without saying how it is.

local oldest = (redis.call('TIME')[1] - ARGV[1]) * 1000000
for index = 2, #ARGV, 2 do
    local root, field = ARGV[index], 'last:' .. ARGV[index]
    local done = redis.call('HGET', KEYS[1], field)
    local at = done and tonumber(string.match(done, '%d+$')) or 0
    if at < oldest and redis.call('HGET', KEYS[2], root) == ARGV[index + 1] then
        redis.call('HDEL', KEYS[2], root)
        redis.call('HDEL', KEYS[1], field)
    end
end
note_roots(KEYS[1], KEYS[2])
