-- Forget roots that are gone for good: nobody waits for them any more.
-- begins with roots.lua
--
-- KEYS[1] meta   KEYS[2] awaiting   KEYS[3] roots   ARGV root ids
--
-- A mark stays in `roots` for as long as others may remember them, so that they forget them too.
-- Returns how many were known.

local mark = string.format('{"closed":true,"forgotten":true,"seen_at":%d}', redis.call('TIME')[1])
local known = 0
for _, root in ipairs(ARGV) do
    known = known + redis.call('HEXISTS', KEYS[3], root)
    redis.call('HSET', KEYS[3], root, mark)
end
redis.call('SREM', KEYS[2], unpack(ARGV))
if redis.call('SCARD', KEYS[2]) == 0 then
    redis.call('HDEL', KEYS[1], 'awaiting')
end
note_roots(KEYS[1], KEYS[3])
return known
