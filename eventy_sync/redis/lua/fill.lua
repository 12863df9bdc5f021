-- Put events back into the journal that it has lost, or that were published without the server.
--
-- KEYS[1] next_event_id   KEYS[2] journal   KEYS[3] meta
-- ARGV[1] epoch   ARGV[2] journal length   ARGV[3] 1: empty the journal first   ARGV[4] id of the first entry
-- ARGV[5..] time and payload fields of each entry, in turn
--
-- Returns the last id in the journal then, or -1 when the epoch has changed.

if redis.call('HGET', KEYS[3], 'epoch') ~= ARGV[1] then
    return -1
end
if ARGV[3] == '1' then
    redis.call('DEL', KEYS[2])
end
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local journaled = newest and tonumber(string.match(newest[1], '^%d+')) or nil
local last = tonumber(redis.call('GET', KEYS[1]) or '1') - 1  -- given out last
local id, last_at = tonumber(ARGV[4]), nil
for index = 5, #ARGV, 2 do
    if id <= last and (not journaled or id == journaled + 1) then
        redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], string.format('%d-0', id), 'a', ARGV[index], 'f', ARGV[index + 1])
        journaled = id
        last_at = ARGV[index]
    end
    id = id + 1
end
if last_at then
    redis.call('HSET', KEYS[3], 'last_at', last_at)
end
if journaled == last or (not journaled and id == last + 1) then
    redis.call('HDEL', KEYS[3], 'unfilled')
else
    redis.call('HSET', KEYS[3], 'unfilled', 1)
end
return journaled or 0
