-- Read the journal from an id on, so many entries and bytes at once that a reply can bear it, however large they are.
--
-- KEYS[1] journal
-- ARGV[1] id to begin at   ARGV[2] how many entries   ARGV[3] of how many bytes, but for the last few
--
-- Returns {1 if there may be more, entries}.

local AT_ONCE = 4
local entries, bytes, from = {}, 0, ARGV[1] .. '-0'
while #entries < tonumber(ARGV[2]) and bytes <= tonumber(ARGV[3]) do
    local count = math.min(AT_ONCE, ARGV[2] - #entries)
    local some = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', count)
    for _, entry in ipairs(some) do
        entries[#entries + 1] = entry
        bytes = bytes + #(entry[2][4] or '')
    end
    if #some < count then
        return {0, entries}
    end
    from = '(' .. some[count][1]
end
return {1, entries}
