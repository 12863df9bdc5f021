"""The queues of this process: each is made once and opened when it is first used; it closes itself at the end.

A fork takes the parent's open queues along, as ``gunicorn --preload`` has it: a queue's child half has its own
descriptors, connections and worker id.  Lock order: ours before a queue's own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from eventy_sync.file import AbstractFileEventQueue

AnyQueue = AbstractFileEventQueue[Any]
K = TypeVar("K", bound=Hashable)


class ProcessQueues(Generic[K]):
    """Queues by what they are known by to whoever makes them.  Thread safe, and safe to fork; made once, on import."""

    def __init__(self, make: Callable[[K], AnyQueue]) -> None:
        # fixed after construction
        self._make = make
        self._lock = threading.RLock()
        # guarded by _lock
        self._queues: dict[K, AnyQueue] = {}
        # written under _lock, read without it
        self._opened: dict[K, AnyQueue] = {}
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork_in_parent,
            after_in_child=self._after_fork_in_child,
        )

    def get(self, name: K) -> AnyQueue:
        """Return a queue, open."""
        if (queue := self._opened.get(name)) is None:
            with self._lock:
                queue = self.unopened(name)
                if name not in self._opened:
                    queue.open()
                    self._opened[name] = queue
        return queue

    def unopened(self, name: K) -> AnyQueue:
        """Return the queue as it is."""
        with self._lock:
            if name not in self._queues:
                self._queues[name] = self._make(name)
            return self._queues[name]

    def adopt(self, name: K) -> AnyQueue:
        """Return a queue that the caller opens and closes; `get` leaves it as it is."""
        with self._lock:
            queue = self.unopened(name)
            self._opened[name] = queue
            return queue

    def close(self) -> list[AnyQueue]:
        """Close all, forget and return them."""
        with self._lock:
            queues = list(self._queues.values())
            self._queues.clear()
            self._opened.clear()
        for queue in queues:
            queue.close()
        return queues

    def close_one(self, name: K) -> None:
        """Close a queue and forget it; nothing if there is none."""
        with self._lock:
            queue = self._queues.pop(name, None)
            self._opened.pop(name, None)
        if queue is not None:
            queue.close()

    def _before_fork(self) -> None:
        """Let nobody be half way through opening a queue."""
        self._lock.acquire()

    def _after_fork_in_parent(self) -> None:
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        """Go on with the parent's queues; nobody else is here to hold the lock."""
        self._lock = threading.RLock()
