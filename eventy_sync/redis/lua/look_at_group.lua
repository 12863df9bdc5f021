-- Say how a group is doing, and whether it has finished all up to an event.
--
-- KEYS[1] meta   KEYS[2] group:<name>   KEYS[3] :leases   KEYS[4] :waiting   KEYS[5] :attempts   KEYS[6] :dead
-- ARGV[1] epoch   ARGV[2] the event's id
--
-- Returns {next_id, events leased, events waiting, dead letters, paused, first event leased or waiting or 0, 1 if all
-- is finished}, or false when the group has to be built in this epoch.

if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] or redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then
    return false
end
local group = redis.call('HMGET', KEYS[2], 'next_id', 'paused', 'left')
local next_id, tail = tonumber(group[1]), tonumber(ARGV[2])
local leased, waiting, oldest, is_finished = 0, 0, math.huge, next_id > tail
for _, record in ipairs(redis.call('HVALS', KEYS[3])) do
    for first, last in string.gmatch(record, ' (%d+)%-(%d+)') do
        leased = leased + last - first + 1
        oldest = math.min(oldest, tonumber(first))
    end
end
for first, last in string.gmatch(group[3] or '', '(%d+)%-(%d+)') do  -- left to roots that have them
    waiting = waiting + last - first + 1
    oldest = math.min(oldest, tonumber(first))
end
is_finished = is_finished and oldest > tail
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local records = redis.call('HGETALL', KEYS[5])
for index = 1, #records, 2 do
    local id = tonumber(records[index])
    waiting, oldest = waiting + 1, math.min(oldest, id)
    if is_finished and id <= tail then  -- what waits for its time without having been handed out does not count
        is_finished = string.sub(records[index + 1], 1, 4) == '0 0 '
            and tonumber(redis.call('ZSCORE', KEYS[4], records[index]) or '0') > now + 1  -- dues are rounded up
    end
end
return {next_id, leased, waiting, redis.call('HLEN', KEYS[6]), group[2] == '1' and 1 or 0,
    oldest == math.huge and 0 or oldest, is_finished and 1 or 0}
