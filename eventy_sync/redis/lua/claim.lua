-- Take a claim unless somebody holds it.
--
-- KEYS[1] claim:<claim id>   KEYS[2] meta
-- ARGV[1] epoch   ARGV[2] milliseconds it lasts   ARGV[3] JSON of the claim up to its token   ARGV[4] the root's last token
--
-- Returns the fencing token, 0 when it is held, or -1 when the epoch has changed, or other roots have not yet said
-- which claims they hold.

local meta = redis.call('HMGET', KEYS[2], 'epoch', 'awaiting', 'token')
if meta[1] ~= ARGV[1] or meta[2] then
    return -1
end
if redis.call('EXISTS', KEYS[1]) == 1 then
    return 0
end
local token = math.max(tonumber(meta[3] or '0'), tonumber(ARGV[4])) + 1
redis.call('HSET', KEYS[2], 'token', string.format('%d', token))
redis.call('SET', KEYS[1], ARGV[3] .. string.format('%d}', token), 'NX', 'PX', ARGV[2])
return token
