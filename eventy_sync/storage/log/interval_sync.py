"""Durability "interval": what was appended is synced within a second, by a thread that lives no longer.

The first append after a pause starts the thread; it syncs once an interval for as long as appends go
on and ends when one interval saw none.  A process that publishes now and then thus has no thread
most of the time, and can fork.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from eventy_sync.waking import start_thread

INTERVAL_SECONDS = 1.0


class IntervalSync:
    """Calls `sync` at most `INTERVAL_SECONDS` after `mark`.  Thread safe."""

    def __init__(self, name: str, sync: Callable[[], None]) -> None:
        self.marked = False  # read without the lock on every append: only a hint to call `mark`
        self._name, self._sync = name, sync
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def mark(self) -> None:
        """Say that something was appended."""
        with self._lock:
            self.marked = True
            if self._thread is None:
                self._thread = start_thread(self._name, self._run)

    def stop(self) -> bool:
        """End the thread without another sync; True if something appended was not synced yet."""
        self._stopping.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        return self.marked

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_SECONDS):
            with self._lock:
                if not self.marked:
                    self._thread = None
                    return
                self.marked = False
            self._sync()
