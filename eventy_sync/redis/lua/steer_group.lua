-- Pause a group or let it go on, or make dead letters wait for a first attempt again; and tell the others.
-- begins with changes.lua
--
-- KEYS[1] meta   KEYS[2] changes   KEYS[3] group:<name>   KEYS[4] :waiting   KEYS[5] :attempts   KEYS[6] :dead
-- ARGV[1] epoch   ARGV[2] length of `changes`   ARGV[3] channel   ARGV[4] message   ARGV[5] "pause", "resume",
-- "requeue" or "requeue all"   ARGV[6] the change's JSON up to what is known here only   ARGV[7] the group's birth
-- ARGV[8..] ids
--
-- Returns "build" when the group has to be built in this epoch, or the change's JSON, with how many were requeued
-- before it.

if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] or redis.call('HGET', KEYS[3], 'epoch') ~= ARGV[1]
    or (redis.call('HGET', KEYS[3], 'birth') or '0') ~= ARGV[7] then
    return 'build'
end
local token = string.format('%d', redis.call('HGET', KEYS[3], 'token') + 1)
local requeued, what = {}, ARGV[5]
if what == 'pause' or what == 'resume' then
    redis.call('HSET', KEYS[3], 'paused', what == 'pause' and '1' or '0')
else
    local time = redis.call('TIME')
    local due = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    local ids = what == 'requeue all' and redis.call('HKEYS', KEYS[6]) or {}
    for index = 8, #ARGV do
        ids[index - 7] = ARGV[index]
    end
    for _, id in ipairs(ids) do
        if redis.call('HDEL', KEYS[6], id) == 1 then
            local name = string.format('%016d', id)
            redis.call('ZADD', KEYS[4], due, name)
            redis.call('HSET', KEYS[5], name, '0 ' .. due .. '000 ' .. token)
            requeued[#requeued + 1] = id
        end
    end
    if not requeued[1] then
        return '0 '
    end
end
redis.call('HSET', KEYS[3], 'token', token)
local body = ARGV[6] .. ',"token":' .. token .. ',"requeued":[' .. table.concat(requeued, ',') .. ']}'
local number = last_change(KEYS[1], KEYS[2]) + 1
append_change(KEYS[2], ARGV[2], number, '-', 'group', body)
note_last_change(KEYS[1], number)
redis.call('PUBLISH', ARGV[3], ARGV[4])
return string.format('%d ', #requeued) .. body
