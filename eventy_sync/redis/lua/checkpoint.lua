-- A root tells what it knows of groups.
--
-- KEYS[1] meta   KEYS[2] groups   KEYS[3..] group:<name> and :checkpoints of each group, in turn
-- ARGV[1] root_id   ARGV[2] 1: the root was alone with its groups, which must be built anew
-- ARGV[3..] name and state of each group, in turn
--
-- Returns the present epoch, or false.

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for index = 3, #ARGV, 2 do
    redis.call('SADD', KEYS[2], ARGV[index])
    redis.call('HSET', KEYS[index + 1], ARGV[1], now .. ' ' .. ARGV[index + 1])
    local told = redis.call('HGET', KEYS[index + 1], 'told') or '0'
    redis.call('HSET', KEYS[index + 1], 'told', string.format('%d', told + 1))
    if ARGV[2] == '1' then
        redis.call('HDEL', KEYS[index], 'epoch')
    end
end
return redis.call('HGET', KEYS[1], 'epoch')
