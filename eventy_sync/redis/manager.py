"""One Redis-coordinated queue for each payload type, under one directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eventy_sync.file import AbstractFileEventQueue, FileQueueManager
from eventy_sync.redis.queue import RedisFileEventQueue


@dataclass(eq=False)
class RedisQueueManager(FileQueueManager):
    """Opens a `RedisFileEventQueue` for each registered payload type.  Thread safe.

    Fields, besides those of `FileQueueManager`:
        redis_url, redis_password: where the server is; see `RedisFileEventQueue`.
    """

    redis_url: str = field(default="redis://localhost:6379", repr=False)
    redis_password: str | None = field(default=None, repr=False)

    def _make_queue(self, root_dir: Path, payload_type: Any) -> AbstractFileEventQueue[Any]:
        return RedisFileEventQueue(
            root_dir,
            payload_type,
            redis_url=self.redis_url,
            redis_password=self.redis_password,
            **self.queue_options,
        )
