-- Make a group as all roots together know it, unless somebody has, or has told something or removed it meanwhile.
--
-- KEYS[1] meta   KEYS[2] groups   KEYS[3] group:<name>   KEYS[4] :pending   KEYS[5] :leases   KEYS[6] :waiting
-- KEYS[7] :attempts   KEYS[8] :dead   KEYS[9] :checkpoints
-- ARGV[1] epoch   ARGV[2] how often checkpoints were told when they were read   ARGV[3] name   ARGV[4] from_index
-- ARGV[5] next_id   ARGV[6] token   ARGV[7] 1: paused   ARGV[8] ranges left to who has them
-- ARGV[9] how many leases   ARGV[10] how many events wait   ARGV[11] birth   ARGV[12..] token, record and milliseconds of each lease;
-- id, attempts and milliseconds of each that waits; id and token of each that is dead
--
-- Returns 1 if it was made now.

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'awaiting')
if meta[1] ~= ARGV[1] or meta[2] or redis.call('HGET', KEYS[3], 'epoch') == ARGV[1]
    or (redis.call('HGET', KEYS[9], 'told') or '0') ~= ARGV[2]
    or (redis.call('HGET', KEYS[3], 'birth') or '0') ~= ARGV[11] then
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.ceil(time[2] / 1000)  -- nothing is due early
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[3], 'epoch', ARGV[1], 'from_index', ARGV[4], 'next_id', ARGV[5], 'token', ARGV[6], 'paused', ARGV[7],
    'left', ARGV[8], 'birth', ARGV[11])
local waiting = 12 + 3 * ARGV[9]
local dead = waiting + 3 * ARGV[10]
for index = 12, waiting - 1, 3 do
    redis.call('HSET', KEYS[5], ARGV[index], ARGV[index + 1])
    redis.call('ZADD', KEYS[4], string.format('%.0f', now + ARGV[index + 2]), ARGV[index])
end
for index = waiting, dead - 1, 3 do
    local name = string.format('%016d', ARGV[index])
    redis.call('HSET', KEYS[7], name, ARGV[index + 1])
    redis.call('ZADD', KEYS[6], string.format('%.0f', now + ARGV[index + 2]), name)
end
for index = dead, #ARGV, 2 do
    redis.call('HSET', KEYS[8], ARGV[index], ARGV[index + 1])
end
return 1
