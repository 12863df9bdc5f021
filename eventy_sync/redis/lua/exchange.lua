-- Take what came of a worker's leases, and give it others: one step, one round trip.
-- begins with changes.lua
--
-- KEYS[1] meta   KEYS[2] changes   KEYS[3] group:<name>: epoch, next_id, token, paused, birth, and in `left` fresh events
-- before next_id, "<first>-<last> ...": who went on behind them had not got them
-- KEYS[4] :pending   tokens by the millisecond their leases run out
-- KEYS[5] :leases    token -> "<worker_id> <attempt> <begun_at> <first>-<last> ..."
-- KEYS[6] :waiting   ids, 16 digits long, by the millisecond they are due
-- KEYS[7] :attempts  id -> "<attempts> <begun_at> <token>" of what waits
-- KEYS[8] :dead      id -> token of its death
-- KEYS[9] :reply:<who asks>   its last request and the reply   KEYS[10..] those of requests whose reply was lost
--
-- ARGV[1] epoch   ARGV[2] session   ARGV[3] request   ARGV[4] worker_id   ARGV[5] channel
-- ARGV[6] sessions to make void, "" for none   ARGV[7] lost requests, in the order of their keys
-- ARGV[8] length of `changes`   ARGV[9] message to tell of results, "" for none
-- ARGV[10] events wanted, 0 for none   ARGV[11] the root's tail   ARGV[12] milliseconds   ARGV[13] most attempts
-- ARGV[14] the root's oldest event   ARGV[15] nobody has events before this one   ARGV[16] the group's
-- birth   ARGV[17..] of each lease settled in turn: token, finished ranges, ranges given back, "<id>:<attempts>:<milliseconds
-- to wait>:<0, or the millisecond until which it is put off>" of each to try again, ids of the dead, body of runs, body
-- of results, body of the group's change
--
-- Returns "rejoin", "awaiting", "build", "void", or "ok <next_id> <token> <paused> <milliseconds until more is due, or
-- -1> <tokens that were held> <leases>"; lists are separated by commas, "-" if empty.  A lease is
-- "<first>-<last>:<attempt>:<token>:<begun_at>:", behind it the worker under whom the last attempt ran out: that
-- event is given to be declared dead.

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'awaiting', 'void')
if meta[1] ~= ARGV[1] then
    return 'rejoin'
end
local group = redis.call('HMGET', KEYS[3], 'epoch', 'next_id', 'token', 'paused', 'left', 'birth')
if meta[2] then
    return 'awaiting'
end
if group[1] ~= ARGV[1] or (group[6] or '0') ~= ARGV[16] then
    return 'build'
end
local kept = redis.call('GET', KEYS[9])
if kept and string.sub(kept, 1, #ARGV[3] + 1) == ARGV[3] .. ' ' then
    return string.sub(kept, #ARGV[3] + 2)
end
if meta[3] and string.find(meta[3], ARGV[2], 1, true) then
    return 'void'
end
if ARGV[6] ~= '' then
    redis.call('HSET', KEYS[1], 'void', string.sub((meta[3] or '') .. ' ' .. ARGV[6], -2000))
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local next_id, token, worker = tonumber(group[2]), tonumber(group[3]), ARGV[4]

local function name_of(id)
    return string.format('%016d', id)
end

local function text_of(ranges)
    local texts = {}
    for index, range in ipairs(ranges) do
        texts[index] = string.format('%d-%d', range[1], range[2])
    end
    return table.concat(texts, ' ')
end

local function ranges_of(text)
    local ranges = {}
    for first, last in string.gmatch(text, '(%d+)%-(%d+)') do
        ranges[#ranges + 1] = {tonumber(first), tonumber(last)}
    end
    return ranges
end

-- Fresh events that are left to others, and from how many on they do not wait each by itself.
local left, many = ranges_of(group[5] or ''), 10000
local function leave(first, last)
    left[#left + 1] = {first, last}
end

-- Return what both have of a lease's ranges and one other range, and what the lease has besides.
local function split(ranges, first, last)
    local inside, outside = {}, {}
    for _, range in ipairs(ranges) do
        local from, to = math.max(range[1], first), math.min(range[2], last)
        if from > to then
            outside[#outside + 1] = range
        else
            inside[#inside + 1] = {from, to}
            if range[1] < from then
                outside[#outside + 1] = {range[1], from - 1}
            end
            if range[2] > to then
                outside[#outside + 1] = {to + 1, range[2]}
            end
        end
    end
    return inside, outside
end

local function wait(id, due, attempts, begun, under)
    local name = name_of(id)
    redis.call('ZADD', KEYS[6], string.format('%.0f', due), name)
    redis.call('HSET', KEYS[7], name, string.format('%s %s %s', attempts, begun, under))
end

local function lease_of(under)
    local record = redis.call('HGET', KEYS[5], under)
    if record then
        return string.match(record, '^(%S+) (%d+) (%d+) (.*)$')
    end
end

local function forget(under)
    redis.call('HDEL', KEYS[5], under)
    redis.call('ZREM', KEYS[4], under)
end

local number
local function tell(kind, body)
    if body == '' then
        return
    end
    number = (number or last_change(KEYS[1], KEYS[2])) + 1
    append_change(KEYS[2], ARGV[8], number, '-', kind, body)
end

-- What was not begun, {first, last, attempt, token, begun_at} each; the newest fresh events are fresh again.
local returned = {}
local function give_back()
    table.sort(returned, function(one, other) return one[1] > other[1] end)
    for _, each in ipairs(returned) do
        if each[3] == 1 and each[2] + 1 == next_id then
            next_id = each[1]
        elseif each[2] - each[1] + 1 >= many then  -- nobody has them: they were leased to be passed over
            leave(each[1], each[2])
        else
            for id = each[1], each[2] do
                wait(id, now, each[3] - 1, each[5], each[4])
            end
        end
    end
end

local lost = 10
for request in string.gmatch(ARGV[7], '%S+') do
    local reply = redis.call('GET', KEYS[lost])
    if reply and string.sub(reply, 1, #request + 1) == request .. ' ' then
        for under in string.gmatch(reply, '%d+%-%d+:%d+:(%d+):%d+:[,]') do
            local holder, attempt, begun, text = lease_of(under)
            if holder == worker then
                for _, range in ipairs(ranges_of(text)) do
                    returned[#returned + 1] = {range[1], range[2], tonumber(attempt), under, begun}
                end
                forget(under)
            end
        end
        redis.call('DEL', KEYS[lost])
    end
    lost = lost + 1
end

-- Settle parts of a lease that is held.
local function settle(at, attempt, begun, ranges)
    local under, inside = ARGV[at]
    for first, last in string.gmatch(ARGV[at + 1], '(%d+)%-(%d+)') do
        inside, ranges = split(ranges, tonumber(first), tonumber(last))
    end
    for first, last in string.gmatch(ARGV[at + 2], '(%d+)%-(%d+)') do
        inside, ranges = split(ranges, tonumber(first), tonumber(last))
        for _, range in ipairs(inside) do
            returned[#returned + 1] = {range[1], range[2], attempt, under, begun}
        end
    end
    for id, attempts, delay, due in string.gmatch(ARGV[at + 3], '(%d+):(%d+):(%d+):(%d+)') do
        inside, ranges = split(ranges, tonumber(id), tonumber(id))
        if inside[1] and due == '0' then
            wait(id, now + delay, attempts, begun, under)
        elseif inside[1] then
            wait(id, due, attempts, '0', under)
        end
    end
    for id in string.gmatch(ARGV[at + 4], '%d+') do
        inside, ranges = split(ranges, tonumber(id), tonumber(id))
        if inside[1] then
            redis.call('HSET', KEYS[8], id, under)
        end
    end
    if ranges[1] then
        redis.call('HSET', KEYS[5], under, string.format('%s %d %s %s', worker, attempt, begun, text_of(ranges)))
    else
        forget(under)
    end
end

local held = {}
for at = 17, #ARGV, 8 do
    local under = ARGV[at]
    local holder, attempt, begun, text = lease_of(under)
    local is_held = holder == worker
    if is_held then
        held[#held + 1] = under
        if text == ARGV[at + 1] then
            forget(under)
        else
            settle(at, tonumber(attempt), begun, ranges_of(text))
        end
        tell('group', ARGV[at + 7])
    end
    local mark = is_held and '' or 'stale_'
    tell(mark .. 'runs', ARGV[at + 5])
    tell(mark .. 'results', ARGV[at + 6])
end
if returned[1] then
    give_back()
end

local leases, limit, tail = {}, tonumber(ARGV[10]), tonumber(ARGV[11])
local oldest, lost_before = tonumber(ARGV[14]), tonumber(ARGV[15])
local ends = string.format('%.0f', now + ARGV[12])
local function lend(first, last, attempt, begun, dead_worker)
    token = token + 1
    local under, range = string.format('%d', token), string.format('%d-%d', first, last)
    redis.call('HSET', KEYS[5], under, string.format('%s %d %s %s', worker, attempt, begun, range))
    redis.call('ZADD', KEYS[4], ends, under)
    leases[#leases + 1] = string.format('%s:%d:%s:%s:%s', range, attempt, under, begun, dead_worker)
end

-- Let what ran out wait for another attempt, or have it declared dead if that was the last.
local function take_back()
    for _, under in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 100)) do
        local holder, attempt, begun, text = lease_of(under)
        forget(under)
        for _, range in ipairs(ranges_of(text or '')) do
            if tonumber(attempt) >= tonumber(ARGV[13]) and range[1] == range[2] then  -- one of several may not have begun
                lend(range[1], range[2], attempt, begun, holder)
            elseif range[2] - range[1] + 1 >= many then
                leave(range[1], range[2])
            else
                for id = range[1], range[2] do
                    wait(id, now, attempt, begun, under)
                end
            end
        end
    end
end

-- Take what is due, and is not left to other roots, from those that wait, and return how many fresh events may come with it.
-- Never begun ones come together; one that was tried before comes alone, for it may be what kills the worker.
local function lend_due()
    local due, offset, size, page = {}, 0, 100
    repeat
        page = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', now, 'LIMIT', offset, size)
        for _, name in ipairs(page) do
            local id = tonumber(name)
            if id <= tail and (id >= oldest or id < lost_before) and #due < limit then
                due[#due + 1] = name
            end
        end
        offset, size = offset + #page, math.min(4 * size, 5000)  -- there may be many that are not for this root
    until #due >= limit or page[1] == nil
    local first, last, room = nil, nil, limit
    for _, name in ipairs(due) do
        local id = tonumber(name)
        local attempts, begun = string.match(redis.call('HGET', KEYS[7], name) or '0 0', '^(%d+) (%d+)')
        if attempts ~= '0' and room < limit then
            break
        end
        redis.call('ZREM', KEYS[6], name)
        redis.call('HDEL', KEYS[7], name)
        if attempts ~= '0' then
            lend(id, id, attempts + 1, begun, '')
            return 0
        end
        if first and id ~= last + 1 then
            lend(first, last, 1, now_us, '')
            first = nil
        end
        first, last, room = first or id, id, room - 1
    end
    if first then
        lend(first, last, 1, now_us, '')
    end
    return room
end

-- Take from what was left, and return how many fresh events may come with it.  What nobody has is one lease, however
-- much: there is nothing to handle.
local function lend_left(room)
    local found = left
    left = {}
    for _, range in ipairs(found) do
        local first, last = range[1], range[2]
        if room > 0 and first < lost_before then
            local lost = math.min(last, lost_before - 1)
            lend(first, lost, 1, now_us, '')
            first, room = lost + 1, room - 1
        end
        local from = math.max(first, oldest)
        local to = math.min(last, tail, from + room - 1)
        if from <= to then
            lend(from, to, 1, now_us, '')
            room = room - (to - from + 1)
            if first < from then
                leave(first, from - 1)
            end
            first = to + 1
        end
        if first <= last then
            leave(first, last)
        end
    end
    return room
end

local wait_ms = -1
if limit > 0 and group[4] ~= '1' then
    take_back()
    local room = lend_due()
    if room > 0 and next_id < oldest and next_id <= tail then
        leave(next_id, math.min(oldest - 1, tail))
        next_id = math.min(oldest - 1, tail) + 1
    end
    if left[1] then
        room = lend_left(room)
    end
    if room > 0 and next_id <= tail then
        local last = math.min(tail, next_id + room - 1)
        lend(next_id, last, 1, now_us, '')
        next_id = last + 1
    end
    if not leases[1] then
        for _, key in ipairs({KEYS[4], KEYS[6]}) do
            local soonest = redis.call('ZRANGEBYSCORE', key, '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
            if soonest[2] and (wait_ms < 0 or soonest[2] - now < wait_ms) then
                wait_ms = soonest[2] - now
            end
        end
    end
end

if number then
    note_last_change(KEYS[1], number)
    if ARGV[9] ~= '' then
        redis.call('PUBLISH', ARGV[5], ARGV[9])
    end
end
local numbers = {string.format('%d', next_id), string.format('%d', token)}
if numbers[1] ~= group[2] or numbers[2] ~= group[3] then
    redis.call('HSET', KEYS[3], 'next_id', numbers[1], 'token', numbers[2])
end
table.sort(left, function(one, other) return one[1] < other[1] end)
local left_text = text_of(left)
if left_text ~= (group[5] or '') then
    redis.call('HSET', KEYS[3], 'left', left_text)
end
local reply = string.format(
    'ok %s %s %s %d %s %s', numbers[1], numbers[2], group[4], wait_ms,
    held[1] and table.concat(held, ',') or '-', leases[1] and table.concat(leases, ',') .. ',' or '-'
)
if leases[1] or #ARGV > 16 then
    redis.call('SET', KEYS[9], ARGV[3] .. ' ' .. reply, 'PX', string.format('%d', math.max(60000, 2 * ARGV[12])))
end
return reply
