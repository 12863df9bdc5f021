-- Tell the other roots of changes: append them to the stream under numbers that run on, and wake everybody up.
-- begins with changes.lua
--
-- KEYS[1] meta   KEYS[2] changes
-- ARGV[1] length of the stream   ARGV[2] channel   ARGV[3] root_id   ARGV[4] how many changes
-- ARGV[5..] kind and body of each change, in turn, then the messages
--
-- Returns the last change's number.

local number = last_change(KEYS[1], KEYS[2])
local first_message = 5 + 2 * ARGV[4]
for index = 5, first_message - 1, 2 do
    number = number + 1
    append_change(KEYS[2], ARGV[1], number, ARGV[3], ARGV[index], ARGV[index + 1])
end
note_last_change(KEYS[1], number)
for index = first_message, #ARGV do
    redis.call('PUBLISH', ARGV[2], ARGV[index])
end
return number
