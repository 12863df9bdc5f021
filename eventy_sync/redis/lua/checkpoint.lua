-- A root tells what it knows of groups.
--
-- KEYS[1] meta   KEYS[2] groups   KEYS[3..] of each group in turn: group:<name>, :pending, :leases, :waiting, :attempts,
-- :dead and :checkpoints
-- ARGV[1] root_id   ARGV[2] 1: the root was alone with its groups, which must be built anew
-- ARGV[3..] name, birth and state of each group, in turn; the state is "" for one that is removed
--
-- Of two births the larger one is right: with that, the other group is one that was removed since.
-- Returns the present epoch, or false, and then name and birth of each group that the root does not know to be removed.

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local reply = {redis.call('HGET', KEYS[1], 'epoch')}
local key = 3
for index = 3, #ARGV, 3 do
    local name, told, state = ARGV[index], ARGV[index + 1], ARGV[index + 2]
    local group, checkpoints = KEYS[key], KEYS[key + 6]
    local birth = redis.call('HGET', group, 'birth') or '0'
    if tonumber(told) > tonumber(birth) then
        redis.call('DEL', unpack(KEYS, key, key + 6))
        redis.call('HSET', group, 'birth', told)
        redis.call('SREM', KEYS[2], name)
    end
    if tonumber(told) < tonumber(birth) then
        reply[#reply + 1] = name
        reply[#reply + 1] = birth
    elseif state ~= '' then
        redis.call('SADD', KEYS[2], name)
        redis.call('HSET', checkpoints, ARGV[1], now .. ' ' .. state)
        redis.call('HSET', checkpoints, 'told', string.format('%d', (redis.call('HGET', checkpoints, 'told') or '0') + 1))
        if ARGV[2] == '1' then
            redis.call('HDEL', group, 'epoch')
        end
    end
    key = key + 7
end
return reply
