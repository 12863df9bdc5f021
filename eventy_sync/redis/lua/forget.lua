-- Forget roots that are gone for good: nobody waits for them any more.
--
-- KEYS[1] meta   KEYS[2] awaiting   KEYS[3] roots   ARGV root ids
--
-- Returns how many were known.

local known = redis.call('HDEL', KEYS[3], unpack(ARGV))
redis.call('SREM', KEYS[2], unpack(ARGV))
if redis.call('SCARD', KEYS[2]) == 0 then
    redis.call('HDEL', KEYS[1], 'awaiting')
end
redis.call('HSET', KEYS[1], 'roots', redis.call('HLEN', KEYS[3]))
return known
