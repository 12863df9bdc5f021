"""Workers in several processes and on several hosts act as one queue, coordinated by Redis.

Each host has a root of its own with the whole log; Redis gives out ids and claims, and carries recent
events from root to root.  Start reading at `coordinator`; `journal` and the scripts in ``lua/`` are the ground.
"""

try:
    import redis as _redis  # noqa: F401
except ImportError:
    raise ImportError('eventy_sync.redis needs redis-py: pip install "eventy-sync[redis]"') from None

from eventy_sync.redis.manager import RedisQueueManager
from eventy_sync.redis.queue import RedisFileEventQueue

__all__ = ["RedisFileEventQueue", "RedisQueueManager"]
