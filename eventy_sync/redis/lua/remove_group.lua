-- Forget a group, unless workers have events of it, and tell the others.
-- begins with changes.lua
--
-- KEYS[1] meta   KEYS[2] changes   KEYS[3] groups   KEYS[4] group:<name>   KEYS[5] :pending   KEYS[6] :leases
-- KEYS[7] :waiting   KEYS[8] :attempts   KEYS[9] :dead   KEYS[10] :checkpoints
-- ARGV[1] epoch   ARGV[2] the group's birth   ARGV[3] length of `changes`   ARGV[4] channel   ARGV[5] message
-- ARGV[6] name   ARGV[7] the change's JSON up to what is known here only
--
-- What stays is `birth` in group:<name>: a group that is made later under the name goes on behind this token, and what
-- a root tells of one with a smaller birth is passed over.
-- Returns "build" when the group has to be built in this epoch, "leased <events>", or "removed <the change's JSON>".

local group = redis.call('HMGET', KEYS[4], 'epoch', 'birth', 'token')
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] or group[1] ~= ARGV[1] or (group[2] or '0') ~= ARGV[2] then
    return 'build'
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local leased = 0
for _, token in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '(' .. now, '+inf')) do
    for first, last in string.gmatch(redis.call('HGET', KEYS[6], token) or '', ' (%d+)%-(%d+)') do
        leased = leased + last - first + 1
    end
end
if leased > 0 then
    return string.format('leased %d', leased)
end
local birth = string.format('%d', group[3] + 1)
redis.call('DEL', KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10])
redis.call('HSET', KEYS[4], 'birth', birth)
redis.call('SREM', KEYS[3], ARGV[6])
local body = ARGV[7] .. ',"birth":' .. birth .. '}'
local number = last_change(KEYS[1], KEYS[2]) + 1
append_change(KEYS[2], ARGV[3], number, '-', 'group', body)
note_last_change(KEYS[1], number)
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 'removed ' .. body
