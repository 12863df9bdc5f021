-- Put back claims that a root holds, where the server has lost them or never had them.
--
-- KEYS[1] claims   KEYS[2] claim_ids   KEYS[3] claim_holders   KEYS[4] meta   KEYS[5..] claim:<claim id> of each
-- ARGV[1] queue_id   ARGV[2] 1: the claims are from before the root was of this queue, and their tokens mean nothing
-- ARGV[3] epoch, "" if there is none   ARGV[4] session
-- ARGV[5..] of each claim in turn: claim id, worker_id, milliseconds it lasts yet, JSON of the claim, the epoch in
-- which it was asked for, or "": the root has it for certain
--
-- A claim that was asked for in this epoch is granted and known here, or it is not granted: it is not put back.  One
-- that was asked for in another was granted, perhaps, and lost: it is put back where nobody has it.
--
-- Returns the numbers, from 1 on, of those that another worker holds under a later token, or another program has
-- overwritten; or -1 when the epoch has changed.  In another queue of this name nothing is done: joining it is refused,
-- or this root takes it for its own.  Nor is anything done in a void session: this was given up, and nobody waits.

local meta = redis.call('HMGET', KEYS[4], 'queue_id', 'epoch', 'void')
if meta[1] and meta[1] ~= ARGV[1] or meta[3] and string.find(meta[3], ARGV[4], 1, true) then
    return {}
end
if (meta[2] or '') ~= ARGV[3] then
    return -1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Return who holds a claim by what the server has, without a token if it is no claim or nobody can say whose it is.
local function find(key, claim_id)
    local held = redis.pcall('GET', key)
    if type(held) == 'table' then
        return held  -- not even a text
    end
    if held then
        local is_json, claim = pcall(cjson.decode, held)
        if not is_json or type(claim) ~= 'table' or type(claim.token) ~= 'number' then
            return {}
        end
        return {worker_id = claim.worker_id, token = claim.token, lasts = redis.call('PTTL', key), is_there = true}
    end
    local ends = tonumber(redis.call('ZSCORE', KEYS[1], claim_id) or '0')
    if ends <= now then
        return nil
    end
    local holder = redis.call('HGET', KEYS[3], claim_id) or ''  -- evicted, and it may be another's who took it since
    local worker_id, token = string.match(holder, '^(%S+) (%d+)$')
    return {worker_id = worker_id, token = tonumber(token or ''), lasts = ends - now}
end

local refused = {}
for number = 1, #KEYS - 4 do
    local key, at = KEYS[number + 4], number * 5
    local claim_id, worker_id, lasts, record, asked_in = unpack(ARGV, at, at + 4)
    local token, there = cjson.decode(record).token, find(key, claim_id)
    if there and there.err and not string.find(tostring(there.err), 'WRONGTYPE', 1, true) then
        return there
    end
    local is_anothers = there and there.worker_id ~= worker_id
    local is_taken = there and not there.token
        or is_anothers and (asked_in ~= '' or ARGV[2] == '1' or there.token > token)
    local is_known = asked_in ~= '' and asked_in == ARGV[3]
    if is_taken and not is_known then
        refused[#refused + 1] = number
    elseif not is_known then  -- into the indexes in any case: the server may have lost them alone
        lasts = tonumber(lasts)
        local is_later = there and not is_anothers and there.token > token  -- granted while this was on its way
        if is_later or there and not is_anothers and there.token == token and there.lasts > lasts then
            lasts = there.lasts  -- or renewed
        end
        if not is_later and not (there and there.is_there and lasts == there.lasts) then
            redis.call('SET', key, record, 'PX', string.format('%d', lasts))
        end
        redis.call('ZADD', KEYS[1], string.format('%d', now + lasts), claim_id)
        redis.call('ZADD', KEYS[2], 0, claim_id)
        redis.call('HSET', KEYS[3], claim_id, worker_id .. string.format(' %d', is_later and there.token or token))
    end
end
return refused
