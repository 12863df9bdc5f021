"""The log's tail, learnt without a lock: how far the log goes as of now.

One `lseek` tells whether the active segment has grown; only then is its last line read.  A record
that is not whole yet does not count; what there is of it is looked at again each time, because it may
be cut off and followed by something just as long.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from eventy_sync.errors import QueueClosedError
from eventy_sync.storage.files import storage_errors
from eventy_sync.storage.log.catalog import Catalog
from eventy_sync.storage.log.segment import Segment, read_end


class Tail:
    """Watches the newest segment of one directory.  Thread safe."""

    def __init__(self, directory: Path, catalog: Catalog) -> None:
        self._directory, self._catalog = directory, catalog
        self._lock = threading.Lock()
        # guarded by _lock
        self._segment: Segment | None = None
        self._size = -1
        self._torn = (0, b"")  # where a record that is not whole begins, and what there is of it
        self._sealed = False
        self._last_id = 0
        self._is_closed = False

    def last_id(self) -> int:
        """Return the id of the last event, 0 when there never was one.

        Raises:
            StorageError: the log cannot be read.
            QueueClosedError: it is closed.
        """
        with self._lock, storage_errors("read", self._directory):
            if self._is_closed:
                raise QueueClosedError("the queue was closed meanwhile")
            if self._segment is None:
                self._open_newest_locked()
            while self._segment is not None and self._has_changed_locked(self._segment):
                self._learn_locked(self._segment)
                if self._sealed:
                    self._open_newest_locked()
            return self._last_id

    def close(self) -> None:
        """Give the descriptor back for good: a thread that has not heard of the end must not open another."""
        with self._lock:
            self._is_closed = True
            segment, self._segment = self._segment, None
            if segment is not None:
                segment.close()

    def _has_changed_locked(self, segment: Segment) -> bool:
        if self._sealed:  # and there was no newer one when we looked
            return self._open_newest_locked()
        if os.lseek(segment.fd, 0, os.SEEK_END) != self._size:
            return True
        position, torn = self._torn
        return bool(torn) and os.pread(segment.fd, len(torn), position) != torn

    def _learn_locked(self, segment: Segment) -> None:
        size = os.lseek(segment.fd, 0, os.SEEK_END)
        end = read_end(segment.fd, size)
        position = size if end.sealed else end.position
        self._torn = position, os.pread(segment.fd, size - position, position) if position < size else b""
        self._size = size  # known now: not if reading failed
        self._last_id = segment.first_id - 1 if end.last is None else end.last.last_id
        self._sealed = end.sealed

    def _open_newest_locked(self) -> bool:
        """Go to the newest segment; False if that is where we are, or there is none."""
        first_ids = self._catalog.refresh()
        if not first_ids or (self._segment is not None and first_ids[-1] <= self._segment.first_id):
            return False
        try:
            segment = Segment(self._directory, first_ids[-1])
        except FileNotFoundError:
            return False  # dropped since the listing: there is a newer one next time
        before, self._segment, self._size, self._sealed = self._segment, segment, -1, False
        if before is not None:
            before.close()
        return True
