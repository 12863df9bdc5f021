-- Send a part of an answer, which expires if nobody fetches it.
--
-- KEYS[1] resync:<request id>   ARGV[1] seconds   ARGV[2] kind   ARGV[3] body

redis.call('XADD', KEYS[1], '*', ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[1])
