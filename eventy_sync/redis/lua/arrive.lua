-- A connection is new: where it leads to another server than the epoch was begun on, the epoch is over.
--
-- Such a server was restarted, or has taken the other's place, and may have lost the last writes.  Until a root has
-- joined here, nothing that is asked under that epoch is served, whoever asks and over whichever connection.
--
-- KEYS[1] meta
--
-- Returns the present epoch, or nil.

local meta = redis.pcall('HMGET', KEYS[1], 'epoch', 'run_id')
if meta.err then
    return string.find(meta.err, 'WRONGTYPE', 1, true) and redis.error_reply('WRONGTYPE ' .. KEYS[1]) or meta
end
local told = redis.pcall('INFO', 'server')
local run_id = type(told) == 'string' and string.match(told, 'run_id:(%w+)')  -- not where one may not ask
if meta[1] and run_id and run_id ~= meta[2] then
    redis.call('HDEL', KEYS[1], 'epoch')
    return false
end
return meta[1]
