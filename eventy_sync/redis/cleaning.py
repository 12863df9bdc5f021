"""Taking away what a demo or a test has left on a server that is not its own."""

from __future__ import annotations

import redis

from eventy_sync.redis.server_address import make_pool
from eventy_sync.redis.translation import translated

_AT_ONCE = 1000


def delete_keys(url: str, prefix: str, password: str | None = None) -> int:
    """Delete every key of this redis_prefix, of all queues, and return how many there were.

    Raises:
        CoordinationError: Redis cannot be asked.
    """
    client = redis.Redis(connection_pool=make_pool(url, 0, password))
    pattern = "".join(f"[{each}]" if each in "*?[" else each for each in prefix.replace("\\", "\\\\"))
    try:
        keys = list(client.scan_iter(f"{pattern}:*", count=_AT_ONCE))
        return sum(int(client.delete(key)) for key in keys)
    except (redis.RedisError, OSError) as exc:
        raise translated(exc) from exc
    finally:
        client.connection_pool.disconnect()
