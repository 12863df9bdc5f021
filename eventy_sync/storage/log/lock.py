"""The append lock: one writer at a time among all threads and processes of a root.

Two locks, always taken together and in this order: ``with lock.threads, lock:``.  `threads` is a
`threading.Lock`, because a file lock does not keep threads that share a descriptor apart; then comes the
operating system's lock on a descriptor of ``.lock`` that is held open.  A dead process loses its lock at
once, so a lock is never stale.

They are not taken in one ``__enter__``: an exception from a signal's handler can come between two lines of
Python there, and would leave the threads' lock held for ever.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

from filelock import lock_descriptor, unlock_descriptor

from eventy_sync.errors import QueueClosedError
from eventy_sync.storage.files import open_file, storage_errors

POLL_SECONDS = 0.0002
"""Between attempts while another process holds the lock: appends are over in microseconds."""


class AppendLock:
    """A context manager around everything that changes a log, inside ``threads``.  Not reentrant.  Thread safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.threads = threading.Lock()
        self._fd = open_file(path, os.O_RDWR | os.O_CREAT)

    def __enter__(self) -> None:
        if self._fd < 0:
            raise QueueClosedError("the queue was closed meanwhile; nothing was written")
        try:
            if not lock_descriptor(self._fd, blocking=False):
                lock_descriptor(self._fd, poll_interval=POLL_SECONDS)
        except OSError:
            with storage_errors("lock", self._path):
                raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._fd >= 0:  # closed inside: that has unlocked it
            unlock_descriptor(self._fd)

    def close(self) -> None:
        """Give the descriptor back; the file stays, for it must never be deleted.

        Called inside both locks, so that whoever waits does not lock a number that may be another file's by then; but
        not in the child of a fork, where no other thread is left.
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
