"""Heartbeats: each worker says that it lives, and hears who else does."""

from __future__ import annotations

import os
import time
from typing import NamedTuple
from uuid import UUID

import msgspec

from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link, Script

HEARTBEAT_SECONDS = 5.0
_HEARTBEAT, _LEAVE = Script("heartbeat"), Script("leave")


class Worker(msgspec.Struct, frozen=True):
    """What is known of a worker.  `seen_at` is in seconds since 1970."""

    pid: int
    root_id: str
    seen_at: float


class Heard(NamedTuple):
    """What a heartbeat brings back: the id given out last, and ids and descriptions of all roots in turn."""

    last_id: int
    roots: list[bytes]


class Workers:
    """This worker among the others.  Thread safe."""

    def __init__(self, keys: Keys, link: Link, worker_id: UUID, root_id: UUID) -> None:
        self._keys, self._link = keys, link
        self._worker_id, self._root_id = str(worker_id), str(root_id)
        self._beaten_at = -HEARTBEAT_SECONDS

    def is_due(self) -> bool:
        """Return whether it is time for a heartbeat."""
        return time.monotonic() - self._beaten_at >= HEARTBEAT_SECONDS

    def beat(self, epoch: bytes, root: bytes, message: bytes | None) -> Heard | None:
        """Say that this worker lives, or, without a message, that its root is as described; None: the epoch is over."""
        self._beaten_at = time.monotonic()
        worker = b"" if message is None else msgspec.json.encode(Worker(os.getpid(), self._root_id, time.time()))
        keys = self._keys
        names = (keys.next_event_id, keys.meta, keys.roots, keys.workers)
        reply = self._link.run(
            _HEARTBEAT, names, [epoch, self._root_id, root, self._worker_id, worker, keys.channel, message or b""]
        )
        return None if reply[0] < 0 else Heard(reply[0], reply[1])

    def leave(self) -> bool:
        """Take this worker off the list; return whether it was the last one of its root."""
        return bool(self._link.run(_LEAVE, (self._keys.workers,), [self._worker_id, self._root_id]))
