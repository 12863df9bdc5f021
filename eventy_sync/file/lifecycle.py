"""Queues that are open in this process, and what forks and the interpreter's end do to them.

Before a fork nobody may be inside SQLite; after it the child's queues start from nothing: fresh
locks, descriptors and worker id, no threads, none of the parent's claims.  At the interpreter's end
whatever is still open is closed.
"""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What a queue does around a fork and at the end."""

    def _before_fork(self) -> None: ...
    def _after_fork_in_parent(self) -> None: ...
    def _after_fork_in_child(self) -> None: ...
    def close(self, timeout: float | None = None) -> None: ...


_open_queues: weakref.WeakSet[Forkable] = weakref.WeakSet()


def opened(queue: Forkable) -> None:
    """Look after this queue from now on."""
    _open_queues.add(queue)


def closed(queue: Forkable) -> None:
    """Look after this queue no more."""
    _open_queues.discard(queue)


def _before_fork() -> None:
    for queue in list(_open_queues):
        queue._before_fork()


def _after_fork_in_parent() -> None:
    for queue in list(_open_queues):
        queue._after_fork_in_parent()


def _after_fork_in_child() -> None:
    for queue in list(_open_queues):
        queue._after_fork_in_child()


def _close_all() -> None:
    for queue in list(_open_queues):
        queue.close()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(_close_all)
