-- A root says who it is and how far its log goes, and learns how far the queue has gone.
-- begins with roots.lua
--
-- When the server may have lost anything (it is new, restarted, or has not what it must have) the disk wins: the
-- epoch changes, and no ids are given out until every other root that lives has said its tail, too.  A server that
-- is the same as before has lost nothing: a root that is ahead of it has published alone.
--
-- KEYS[1] next_event_id   KEYS[2] journal   KEYS[3] meta   KEYS[4] awaiting   KEYS[5] roots
--
-- ARGV[1] queue_id   ARGV[2] root_id   ARGV[3] the root's tail   ARGV[4] what to keep of the root in `roots`
-- ARGV[5] an epoch to use if a new one is needed   ARGV[6] the key that seals what it publishes
-- ARGV[7] the root's last fencing token   ARGV[8] 1: the root is empty and takes any queue_id
-- ARGV[9] sessions whose requests must not be served any more, "" if none
-- ARGV[10..] other roots that this one remembers and that may be alive
--
-- Returns {"ok", queue_id, epoch, seal, last id given out, last id in the journal, roots} or {"foreign", queue_id}.

local queue = redis.call('HGET', KEYS[3], 'queue_id')
if queue and queue ~= ARGV[1] and ARGV[8] ~= '1' then
    return {'foreign', queue}
end
local root, tail = ARGV[2], tonumber(ARGV[3])
local next_id = redis.call('GET', KEYS[1])
local last = tonumber(next_id or '1') - 1
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local journaled = newest and tonumber(string.match(newest[1], '^%d+')) or 0
local told = redis.pcall('INFO', 'server')  -- here and now: a moment ago it may have been another server
local run_id = type(told) == 'string' and string.match(told, 'run_id:(%w+)') or ''  -- "" where one may not ask
local restarted = run_id ~= '' and redis.call('HGET', KEYS[3], 'run_id') ~= run_id
if not queue then
    redis.call('HSET', KEYS[3], 'queue_id', ARGV[1])
    queue = ARGV[1]
end
local epoch = redis.call('HGET', KEYS[3], 'epoch')
if not epoch or not next_id or restarted or journaled > last or (tail > last and run_id == '') then
    epoch = ARGV[5]
    redis.call('HSET', KEYS[3], 'epoch', epoch, 'seal', ARGV[6], 'run_id', run_id)
    redis.call('HDEL', KEYS[3], 'void')  -- no request of an epoch that is over is served
    local known = redis.call('HKEYS', KEYS[5])
    for index = 10, #ARGV do
        known[#known + 1] = ARGV[index]
    end
    for _, other in ipairs(known) do
        local state = redis.call('HGET', KEYS[5], other)
        if not (state and string.find(state, '"closed":true', 1, true)) then
            redis.call('SADD', KEYS[4], other)
        end
    end
end
if ARGV[9] ~= '' then
    local void = redis.call('HGET', KEYS[3], 'void') or ''
    redis.call('HSET', KEYS[3], 'void', string.sub(void .. ' ' .. ARGV[9], -2000))
end
redis.call('SREM', KEYS[4], root)
redis.call('HSET', KEYS[5], root, ARGV[4])
last = math.max(last, tail, journaled)
redis.call('SET', KEYS[1], string.format('%d', last + 1))
local token = math.max(tonumber(redis.call('HGET', KEYS[3], 'token') or '0'), tonumber(ARGV[7]))
redis.call('HSET', KEYS[3], 'token', string.format('%d', token))
if journaled < last then
    redis.call('HSET', KEYS[3], 'unfilled', 1)
else
    redis.call('HDEL', KEYS[3], 'unfilled')
end
if redis.call('SCARD', KEYS[4]) > 0 then
    redis.call('HSET', KEYS[3], 'awaiting', 1)
else
    redis.call('HDEL', KEYS[3], 'awaiting')
end
return {'ok', queue, epoch, redis.call('HGET', KEYS[3], 'seal') or '', last, journaled, note_roots(KEYS[3], KEYS[5])}
