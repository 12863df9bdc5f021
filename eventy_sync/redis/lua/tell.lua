-- Tell the other roots of changes: append them to the stream under numbers that run on, and wake everybody up.
--
-- KEYS[1] meta   KEYS[2] changes
-- ARGV[1] length of the stream   ARGV[2] channel   ARGV[3] root_id   ARGV[4] how many changes
-- ARGV[5..] kind and body of each change, in turn, then the messages
--
-- Returns the last change's number.

local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local number = math.max(
    tonumber(redis.call('HGET', KEYS[1], 'changes') or '0'),
    newest and tonumber(string.match(newest[1], '^%d+')) or 0
)
local first_message = 5 + 2 * ARGV[4]
for index = 5, first_message - 1, 2 do
    number = number + 1
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], string.format('%d-0', number),
        'r', ARGV[3], 'k', ARGV[index], 'b', ARGV[index + 1])
end
redis.call('HSET', KEYS[1], 'changes', string.format('%d', number))
for index = first_message, #ARGV do
    redis.call('PUBLISH', ARGV[2], ARGV[index])
end
return number
