-- Give out ids for a batch, journal it, and wake up who does not hear of it otherwise: one round trip, all or nothing.
--
-- KEYS[1] next_event_id   the next id to give out
-- KEYS[2] journal         stream of recent events, contiguous, ends before `next_event_id` unless `unfilled`
-- KEYS[3] meta            hash: epoch, seal, last_at, roots, alone, awaiting, unfilled, void, last:<root_id>
-- KEYS[4] key:<key>       only for an event with a key: which event has it, as long as it is taken
--
-- ARGV[1] journal length   ARGV[2] channel   ARGV[3] the wake-up message up to its last id
-- ARGV[4] field of the root's last request in meta
-- ARGV[5] epoch   ARGV[6] request token, its first 8 characters the session   ARGV[7] the root's tail
-- ARGV[8] the time of the root's last event, "0" if it is not known
-- ARGV[9] token of the same request whose reply was lost, or ""   ARGV[10..] payload fields, one for each event
-- With KEYS[4] there is one event: ARGV[11] what the fields of an event with its key begin with   ARGV[12] for how many
-- milliseconds it takes the key   ARGV[13] an event that does not count though it may have the key, or "0"
--
-- Returns "<first id> <time> <roots known>", or that and the entries which the root is missing, or "rejoin",
-- "awaiting", "behind", "taken <id>": that event has the key.

local CARRIED_BYTES = 2048  -- an event that is published alone goes with its wake-up, sealed, unless it is larger
local MAX_MISSING, MAX_MISSING_BYTES = 200, 4194304  -- so much comes back at most, and a few entries more

local meta = redis.call('HMGET', KEYS[3], 'epoch', 'last_at', 'roots', 'awaiting', 'unfilled', 'void', 'seal', 'alone')
local last_at, void = meta[2], meta[6]
if meta[1] ~= ARGV[5] or meta[5] or (void and string.find(void, string.sub(ARGV[6], 1, 8), 1, true)) then
    return 'rejoin'
end
local told, first
if ARGV[9] ~= '' then
    redis.call('HSET', KEYS[3], 'void', string.sub((void or '') .. ' ' .. string.sub(ARGV[9], 1, 8), -2000))
    local done = redis.call('HGET', KEYS[3], ARGV[4])
    if done and string.sub(done, 1, #ARGV[9] + 1) == ARGV[9] .. ' ' then
        told = string.sub(done, #ARGV[9] + 2)
        first = tonumber(string.match(told, '^%d+'))
    end
end
local given, tail = KEYS[4] and 1 or #ARGV - 9, tonumber(ARGV[7])
if not told then
    if meta[4] then
        return 'awaiting'
    end
    local taken = KEYS[4] and redis.call('GET', KEYS[4])
    if taken and taken ~= ARGV[13] and string.find(taken, '^[1-9]%d*$') and #taken < 17 then
        return 'taken ' .. taken
    end
    first = redis.call('INCRBY', KEYS[1], given) - given
end

-- From here on a refusal takes back what was given.
local function refuse(reason)
    if not told then
        redis.call('DECRBY', KEYS[1], given)
    end
    return reason
end

local missing
if first == tail + 1 then
    if last_at and ARGV[8] ~= last_at and ARGV[8] ~= '0' and not told then
        return refuse('rejoin')  -- the root's last event is not the queue's
    end
elseif first > tail then
    local count = first - 1 - tail
    if count > MAX_MISSING then
        return refuse('behind')
    end
    missing = {}
    local bytes, from, to = 0, string.format('%d-0', math.max(tail, 1)), string.format('%d-0', first - 1)
    local last
    repeat  -- a few at once, which may be as large as events can be
        local some = redis.call('XRANGE', KEYS[2], from, to, 'COUNT', 4)
        for _, entry in ipairs(some) do
            missing[#missing + 1] = entry
            bytes = bytes + #(entry[2][4] or '')
        end
        last = some[4] and some[4][1] or to
        from = '(' .. last
    until last == to or bytes > MAX_MISSING_BYTES
    if last ~= to then
        return refuse('behind')
    end
    if #missing > count then
        if ARGV[8] ~= '0' and missing[1][2][2] ~= ARGV[8] then
            return refuse('rejoin')
        end
        table.remove(missing, 1)
    end
    if #missing ~= count then
        return refuse('behind')
    end
elseif not told then
    return refuse('rejoin')  -- the counter is behind the root: it was lost
end

if missing and KEYS[4] and not told then  -- the key's entry may be lost, those of the journal are not
    local now = redis.call('TIME')[1] * 1000000
    for index = #missing, 1, -1 do
        local id, text = string.match(missing[index][1], '^%d+'), missing[index][2][4] or ''
        local window = string.sub(text, 1, #ARGV[11]) == ARGV[11] and string.match(text, '^"window":(%d+)', #ARGV[11] + 1)
        if window and (tonumber(missing[index][2][2]) or 0) + window > now and id ~= ARGV[13] then
            return refuse('taken ' .. id)
        end
    end
end

if not told then
    local time = redis.call('TIME')
    local at = time[1] * 1000000 + time[2]
    at = string.format('%.0f', math.max(at, tonumber(last_at or ARGV[8])))
    local id = string.format('%d', first)
    told = id .. ' ' .. at
    for index = 10, 9 + given do
        if index > 10 then
            id = string.format('%d', first + index - 10)
        end
        redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], id .. '-0', 'a', at, 'f', ARGV[index])
    end
    if KEYS[4] then
        redis.call('SET', KEYS[4], id, 'PX', ARGV[12])
    end
    redis.call('HSET', KEYS[3], 'last_at', at, ARGV[4], ARGV[6] .. ' ' .. told)
    if meta[8] ~= ARGV[4] then
        local event = '}'
        if given == 1 and meta[3] ~= '1' and meta[7] and #ARGV[10] <= CARRIED_BYTES and redis.sha1hex then  -- not all have it
            local before, fields = last_at or '0', ARGV[10]
            local seal = redis.sha1hex(meta[7] .. redis.sha1hex(table.concat({meta[7], told, before, fields}, ' ')))
            event = ',"event":{"at":' .. at .. ',"before":' .. before .. ',"seal":"' .. seal .. '","fields":{' .. fields .. '}}}'
        end
        redis.call('PUBLISH', ARGV[2], ARGV[3] .. id .. event)
    end
end
told = told .. ' ' .. (meta[3] or '0')
return missing and {told, missing} or told
