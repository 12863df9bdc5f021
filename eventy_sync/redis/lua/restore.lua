-- Put back claims that a root holds, where the server has lost them or never had them.
--
-- KEYS[1] claims   KEYS[2] claim_ids   KEYS[3] claim_holders   KEYS[4] meta   KEYS[5..] claim:<claim id> of each
-- ARGV[1] queue_id   ARGV[2] 1: the claims are from before the root was of this queue, and their tokens mean nothing
-- ARGV[3..] of each claim in turn: claim id, worker_id, milliseconds it lasts yet, JSON of the claim
--
-- Returns the numbers, from 1 on, of those that another worker holds under a later token, or another program has
-- overwritten.  In another queue of this name nothing is done: joining it is refused, or this root takes it for its own.

local queue = redis.call('HGET', KEYS[4], 'queue_id')
if queue and queue ~= ARGV[1] then
    return {}
end

-- Return whether what is at a claim's key leaves no room for this worker's claim.
local function is_taken(held, worker_id, record)
    if type(held) == 'table' then
        return true  -- not even a text
    end
    local is_json, claim = pcall(cjson.decode, held)
    if not is_json or type(claim) ~= 'table' or type(claim.token) ~= 'number' then
        return true  -- no claim of ours
    end
    return claim.worker_id ~= worker_id and (ARGV[2] == '1' or claim.token > cjson.decode(record).token)
end

-- Return whether the server has this very claim for longer, or a later one of the same worker: it was renewed, or
-- granted, while this was on its way.
local function is_newer(key, held, worker_id, record, milliseconds)
    local claim, token = cjson.decode(held), cjson.decode(record).token
    return claim.worker_id == worker_id
        and (claim.token > token or (claim.token == token and redis.call('PTTL', key) >= tonumber(milliseconds)))
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local refused = {}
for number = 1, #KEYS - 4 do
    local key, at = KEYS[number + 4], number * 4 - 1
    local held = redis.pcall('GET', key)
    if held and is_taken(held, ARGV[at + 1], ARGV[at + 3]) then
        refused[#refused + 1] = number
    else  -- into the indexes in any case: the server may have lost them alone
        local lasts, record = ARGV[at + 2], ARGV[at + 3]
        if held and is_newer(key, held, ARGV[at + 1], record, lasts) then
            lasts, record = redis.call('PTTL', key), held
        else
            redis.call('SET', key, record, 'PX', lasts)
        end
        redis.call('ZADD', KEYS[1], string.format('%d', now + lasts), ARGV[at])
        redis.call('ZADD', KEYS[2], 0, ARGV[at])
        redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1] .. string.format(' %d', cjson.decode(record).token))
    end
end
return refused
