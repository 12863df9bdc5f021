-- Put back claims that a root holds, where the server has lost them or never had them.
--
-- KEYS[1] claims   KEYS[2] claim_ids   KEYS[3..] claim:<claim id> of each
-- ARGV of each claim in turn: claim id, worker_id, milliseconds it lasts yet, JSON of the claim
--
-- Returns the numbers, from 1 on, of those that another worker holds under a later token.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local refused = {}
for number = 1, #KEYS - 2 do
    local key, at = KEYS[number + 2], number * 4 - 3
    local held = redis.call('GET', key)
    held = held and cjson.decode(held)
    if held and held.worker_id ~= ARGV[at + 1] and held.token > cjson.decode(ARGV[at + 3]).token then
        refused[#refused + 1] = number
    else
        redis.call('SET', key, ARGV[at + 3], 'PX', ARGV[at + 2])
        redis.call('ZADD', KEYS[1], string.format('%d', now + ARGV[at + 2]), ARGV[at])
        redis.call('ZADD', KEYS[2], 0, ARGV[at])
    end
end
return refused
