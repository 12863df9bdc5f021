-- What the scripts begin with that tell other roots of changes: the stream of them, whose numbers run on.

-- Return the number of the last change, though the stream or the number of its end was lost.
local function last_change(meta, changes)
    local newest = redis.call('XREVRANGE', changes, '+', '-', 'COUNT', 1)[1]
    local number = tonumber(redis.call('HGET', meta, 'changes') or '0')
    return math.max(number, newest and tonumber(string.match(newest[1], '^%d+')) or 0)
end

local function append_change(changes, length, number, root, kind, body)
    redis.call('XADD', changes, 'MAXLEN', '~', length, string.format('%d-0', number), 'r', root, 'k', kind, 'b', body)
end

local function note_last_change(meta, number)
    redis.call('HSET', meta, 'changes', string.format('%d', number))
end

