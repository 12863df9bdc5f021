-- Let leases of a group last on.
--
-- KEYS[1] meta   KEYS[2] group:<name>   KEYS[3] :pending   KEYS[4] :leases
-- ARGV[1] epoch   ARGV[2] worker_id   ARGV[3] milliseconds   ARGV[4..] tokens
--
-- Returns the tokens of those that are held still, or false when the group has to be built in this epoch.

if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] or redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then
    return false
end
local time = redis.call('TIME')
local ends = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3])
local held = {}
for index = 4, #ARGV do
    local record = redis.call('HGET', KEYS[4], ARGV[index])
    if record and string.sub(record, 1, #ARGV[2] + 1) == ARGV[2] .. ' ' then
        redis.call('ZADD', KEYS[3], ends, ARGV[index])
        held[#held + 1] = tonumber(ARGV[index])
    end
end
return held
