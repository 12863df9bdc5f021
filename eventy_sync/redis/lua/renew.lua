-- Let a claim last on, or free it, if it is held by this worker under this token.
--
-- KEYS[1] claim:<claim id>   KEYS[2] meta
-- ARGV[1] epoch   ARGV[2] worker_id   ARGV[3] token   ARGV[4] milliseconds it lasts, 0 to free it
-- ARGV[5] JSON of the claim as it is then
--
-- Returns 1, 0 when it is not held so, or -1 when the epoch has changed.

if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then
    return -1
end
local held = redis.call('GET', KEYS[1])
if not held then
    return 0
end
local claim = cjson.decode(held)
if claim.worker_id ~= ARGV[2] or claim.token ~= tonumber(ARGV[3]) then
    return 0
end
if ARGV[4] == '0' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[5], 'XX', 'PX', ARGV[4])
end
return 1
