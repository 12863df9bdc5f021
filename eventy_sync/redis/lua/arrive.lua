-- A connection is new: where it leads to another server than the epoch was begun on, the epoch is over.
--
-- Such a server was restarted, or has taken the other's place, and may have lost the last writes.  Until a root has
-- joined here, nothing that is asked under that epoch is served, whoever asks and over whichever connection.
--
-- KEYS[1] next_event_id   KEYS[2] journal   KEYS[3] changes   KEYS[4] meta   KEYS[5] roots   KEYS[6] workers
-- KEYS[7] awaiting   KEYS[8] claims   KEYS[9] claim_ids   KEYS[10] claim_holders
--
-- Returns the present epoch, or nil; an error that names the key where another program has put something.

for number, read in ipairs({'GET', 'XLEN', 'XLEN', 'HLEN', 'HLEN', 'HLEN', 'SCARD', 'ZSCORE', 'ZSCORE', 'HLEN'}) do
    local asked = {read, KEYS[number], read == 'ZSCORE' and 'x' or nil}
    local found = redis.pcall(unpack(asked))
    if type(found) == 'table' then
        return string.find(found.err, 'WRONGTYPE', 1, true) and redis.error_reply('WRONGTYPE of ' .. asked[2]) or found
    elseif read == 'GET' and found and not tonumber(found) then
        return redis.error_reply('ERR ' .. asked[2] .. ' is not an integer')
    end
end
local meta = redis.call('HMGET', KEYS[4], 'epoch', 'run_id')
local told = redis.pcall('INFO', 'server')
local run_id = type(told) == 'string' and string.match(told, 'run_id:(%w+)')  -- not where one may not ask
if meta[1] and run_id and run_id ~= meta[2] then
    redis.call('HDEL', KEYS[4], 'epoch')
    return false
end
return meta[1]
