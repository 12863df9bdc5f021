"""What whoever looks after a queue wants to know and do: other roots, workers, numbers; forgetting a root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar
from uuid import UUID

from eventy_sync.errors import CoordinationError, InvalidArgumentError
from eventy_sync.redis.journal import Journal
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link
from eventy_sync.redis.mode import Mode
from eventy_sync.redis.roots import Root, Roots
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.redis.workers import Worker, Workers

R = TypeVar("R")

_LATEST_SECONDS = 253_402_300_799.0  # the end of the year 9999


@dataclass(frozen=True)
class KnownRoot:
    """Another root, as it was last heard of.  `behind` is how many events it lacks, negative if we do."""

    root_id: str
    host: str
    tail: int
    behind: int
    seen_at: datetime
    is_open: bool


@dataclass(frozen=True)
class KnownWorker:
    """A worker of any root.  `is_silent`: not heard of for a minute, so dead, cut off, or with nothing to say."""

    worker_id: str
    host: str
    pid: int
    root_id: str
    seen_at: datetime
    is_silent: bool


class Operations:
    """Thread safe."""

    def __init__(
        self,
        keys: Keys,
        link: Link,
        journal: Journal,
        roots: Roots,
        workers: Workers,
        mode: Mode,
        root_id: UUID,
        degrade: Callable[[CoordinationError], None],
    ) -> None:
        self._keys, self._link, self._journal = keys, link, journal
        self._roots, self._workers, self._mode = roots, workers, mode
        self._root_id, self._degrade = str(root_id), degrade

    def _ask(self, question: Callable[[], R]) -> R | None:
        """Return what Redis says, or None because it cannot be asked."""
        if not self._mode.is_connected:
            return None
        try:
            return question()
        except RedisUnavailableError as exc:
            self._degrade(exc)
            return None

    def _hear(self) -> None:
        self._ask(lambda: self._roots.learn(self._link.command("HGETALL", self._keys.roots)))

    def roots(self, tail: int) -> list[KnownRoot]:
        """Return the other roots that may be alive, those that were heard of last first; without Redis from memory."""
        self._hear()
        found = [_known_root(root_id, root, tail) for root_id, root in self._roots.others().items()]
        return sorted(found, key=lambda each: each.seen_at, reverse=True)

    def awaited(self) -> list[str]:
        """Return the roots that must say how far their log goes before anything is published again."""
        return self._ask(self._journal.awaited) or []

    def workers(self) -> list[KnownWorker]:
        """Return all workers on the list, those that were heard of last first.

        Raises:
            CoordinationError: Redis cannot be asked.
        """
        found = self._ask(self._workers.all)
        if found is None:
            raise CoordinationError(
                f"who works is not known: {self._mode.value} since {self._mode.since:%H:%M:%S} UTC ({self._mode.error})"
            )
        known = [_known_worker(worker_id, worker) for worker_id, worker in found.items()]
        return sorted(known, key=lambda each: each.seen_at, reverse=True)

    def forget(self, root_id: str) -> bool:
        """Take a root for gone for good; False if it is not known.

        Raises:
            InvalidArgumentError: it is this root.
            StorageError: the disk refused.
        """
        if root_id == self._root_id:
            raise InvalidArgumentError(f"{root_id} is this root itself; forget it from another one")
        self._hear()
        if root_id not in self._roots.others() and root_id not in self.awaited():
            return False
        self._roots.forget(root_id)
        self._ask(lambda: self._journal.forget([root_id]))  # without Redis: when this root joins
        return True

    def numbers(self, tail: int) -> dict[str, Any]:
        """Return how long the journal is, how many workers and roots there are, and how many events are missing here.

        None stands for what Redis would know and cannot be asked.
        """
        last_id = self._ask(self._journal.last_id)
        return {
            "events_behind": None if last_id is None else max(0, last_id - tail),
            "journal_length": self._ask(lambda: self._link.command("XLEN", self._keys.journal)),
            "workers": self._ask(lambda: self._link.command("HLEN", self._keys.workers)),
            "roots": len(self._roots.others()) + 1,
        }


def _known_root(root_id: str, root: Root, tail: int) -> KnownRoot:
    return KnownRoot(root_id, root.host, root.tail, tail - root.tail, _time(root.seen_at), not root.closed)


def _known_worker(worker_id: str, worker: Worker) -> KnownWorker:
    seen_at = _time(worker.seen_at)
    return KnownWorker(worker_id, worker.host, worker.pid, worker.root_id, seen_at, worker.is_silent)


def _time(seconds: float) -> datetime:
    """Return a time from Redis, whatever is there."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LATEST_SECONDS), timezone.utc)
