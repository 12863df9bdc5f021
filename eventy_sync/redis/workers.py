"""Heartbeats: each worker says that it lives, and hears who else does.

A worker that was killed stays on the list; now and then each one looks at a part of it, and takes off who has
been silent for a day, and who has died on this host.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link, Script

HEARTBEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""Who delivers and was not heard of for so long is dead or cut off; who only publishes may just have nothing to say."""
EXPIRY_SECONDS = 86_400.0
SWEEP_SECONDS = 60.0
_SWEPT_AT_ONCE = 100
_HEARTBEAT, _LEAVE = Script("heartbeat"), Script("leave")


class Worker(msgspec.Struct, frozen=True):
    """What is known of a worker.  `seen_at` is in seconds since 1970."""

    pid: int
    root_id: str
    seen_at: float
    host: str = ""

    @property
    def is_silent(self) -> bool:
        """Whether it was not heard of for `SILENT_SECONDS`."""
        return time.time() - self.seen_at > SILENT_SECONDS

    def is_gone(self, root_id: str, host: str) -> bool:
        """Return whether it can be taken off the list, as a worker of this root on this host sees it."""
        if time.time() - self.seen_at > EXPIRY_SECONDS:
            return True
        return self.is_silent and (self.root_id, self.host) == (root_id, host) and not _is_running(self.pid)


class Heard(NamedTuple):
    """What a heartbeat brings back: the id given out last, and ids and descriptions of all roots in turn."""

    last_id: int
    roots: list[bytes]


class Workers:
    """This worker among the others.  Thread safe."""

    def __init__(self, keys: Keys, link: Link, worker_id: UUID, root_id: UUID) -> None:
        self._keys, self._link = keys, link
        self._worker_id, self._root_id = str(worker_id), str(root_id)
        self._host = socket.gethostname()
        self._beaten_at = -HEARTBEAT_SECONDS
        self._swept_at = -SWEEP_SECONDS
        self._cursor: int | bytes = 0

    def make_due(self) -> None:
        """Let the next one who asks find that it is time for a heartbeat."""
        self._beaten_at = -HEARTBEAT_SECONDS

    def is_due(self) -> bool:
        """Return whether it is time for a heartbeat."""
        return time.monotonic() - self._beaten_at >= HEARTBEAT_SECONDS

    def beat(self, epoch: bytes, root: bytes, message: bytes) -> Heard | None:
        """Say that this worker lives, and what to keep of its root; None: the epoch is over."""
        self._beaten_at = time.monotonic()
        keys = self._keys
        names = (keys.next_event_id, keys.meta, keys.roots, keys.workers)
        reply = self._link.run(
            _HEARTBEAT, names, [epoch, self._root_id, root, self._worker_id, self._myself(), keys.channel, message]
        )
        if time.monotonic() - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._sweep()
        return None if reply[0] < 0 else Heard(reply[0], reply[1])

    def _myself(self) -> bytes:
        return msgspec.json.encode(Worker(os.getpid(), self._root_id, time.time(), self._host))

    def _sweep(self) -> None:
        """Look at a part of the list, another one each time, and take off who is gone."""
        self._cursor, pairs = self._link.command("HSCAN", self._keys.workers, self._cursor, "COUNT", _SWEPT_AT_ONCE)
        gone = [name for name, worker in _decoded(pairs) if worker is None or worker.is_gone(self._root_id, self._host)]
        if gone:
            self._link.command("HDEL", self._keys.workers, *gone)

    def all(self) -> dict[str, Worker]:
        """Return all workers on the list, by their ids."""
        pairs = _decoded(self._link.command("HGETALL", self._keys.workers))
        return {name.decode(errors="replace"): worker for name, worker in pairs if worker is not None}

    def leave(self, epoch: bytes, root: bytes, closed_root: bytes) -> bool:
        """Take this worker off the list, and say what to keep of its root, closed if this was the last one there.

        Returns whether it was.
        """
        names = (self._keys.workers, self._keys.meta, self._keys.roots)
        return bool(self._link.run(_LEAVE, names, [epoch, self._worker_id, self._root_id, root, closed_root]))


def _decoded(flat: Sequence[bytes]) -> Iterator[tuple[bytes, Worker | None]]:
    """Yield ids and descriptions; None for one that cannot be read."""
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        try:
            yield name, msgspec.json.decode(value, type=Worker)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield name, None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
