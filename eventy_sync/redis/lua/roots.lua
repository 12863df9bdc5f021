-- What the scripts begin with that change what is kept of roots.

-- Note how many roots there are, and which one needs no messages about what it publishes: it alone is open, and its
-- processes hear of each other's events from the kernel.  Return all roots and what is kept of them, in turn.
local function note_roots(meta, roots)
    local all, alone, open = redis.call('HGETALL', roots), '', 0
    for index = 1, #all, 2 do
        if not string.find(all[index + 1], '"closed":true', 1, true) then
            open = open + 1
            alone = string.find(all[index + 1], '"told":true', 1, true) and all[index] or ''
        end
    end
    redis.call('HSET', meta, 'roots', #all / 2, 'alone', open == 1 and alone ~= '' and 'last:' .. alone or '')
    return all
end

