-- Give out ids for a batch, journal it, and wake everybody up: one round trip, all or nothing.
--
-- KEYS[1] next_event_id   the next id to give out
-- KEYS[2] journal         stream of recent events, contiguous, ends at `journaled`
-- KEYS[3] meta            hash: epoch, last_at, journaled, awaiting, roots, last:<root_id>
--
-- ARGV[1] root_id   ARGV[2] journal length   ARGV[3] channel   ARGV[4] the wake-up message up to its last id
-- ARGV[5] how many missing entries may be returned   ARGV[6] field of the root's last request in meta
-- ARGV[7] epoch   ARGV[8] request token   ARGV[9] the root's tail   ARGV[10] its last time
-- ARGV[11..] payload fields, one for each event
--
-- Returns {first id, time, roots known, missing entries}, or {"rejoin"}, {"awaiting"}, {"behind"}.

local meta = redis.call('HMGET', KEYS[3], 'epoch', 'last_at', 'journaled', 'awaiting', 'roots', ARGV[6])
local tail, last = tonumber(ARGV[9]), tonumber(meta[3] or '0')
if meta[1] ~= ARGV[7] or tail > last then
    return {'rejoin'}
end
local first, at = last + 1, nil
local done = meta[6]
if done and string.sub(done, 1, #ARGV[8]) == ARGV[8] then  -- its reply was lost: the same ids again
    local done_first, done_at = string.match(done, ' (%d+) (%d+)$')
    first, at = tonumber(done_first), done_at
elseif meta[4] then
    return {'awaiting'}
end
local missing = {}
if first > tail + 1 then
    local count = first - 1 - tail
    if count > tonumber(ARGV[5]) then
        return {'behind'}
    end
    missing = redis.call('XRANGE', KEYS[2], string.format('%d-0', tail + 1), string.format('%d-0', first - 1))
    if #missing ~= count then
        return {'behind'}
    end
end
if at then
    return {first, at, meta[5], missing}
end
local given = #ARGV - 10
local next_id = redis.call('INCRBY', KEYS[1], given)
if next_id ~= first + given then  -- the counter was lost, or the journal's end: joining brings them in line
    redis.call('DECRBY', KEYS[1], given)
    return {'rejoin'}
end
local time = redis.call('TIME')
at = string.format('%.0f', math.max(time[1] * 1000000 + time[2], tonumber(meta[2] or '0'), tonumber(ARGV[10])))
local id = last
for index = 11, #ARGV do
    id = id + 1
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], string.format('%d-0', id), 'a', at, 'f', ARGV[index])
end
redis.call('HSET', KEYS[3], 'last_at', at, 'journaled', id, ARGV[6], ARGV[8] .. ' ' .. first .. ' ' .. at)
redis.call('PUBLISH', ARGV[3], ARGV[4] .. id .. '}')
return {first, at, meta[5], missing}
