"""The event log of one root: append at the end, read from anywhere.

Owns the directory ``events/`` and the append lock beside it.  Appending costs the same however long
the log is, and opening reads one segment's end, not the history.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from eventy_sync.errors import CoordinationError, QueueClosedError, StorageError
from eventy_sync.storage.files import make_directory, storage_errors, sync_directory
from eventy_sync.storage.log.group_commit import Batch, GroupCommit
from eventy_sync.storage.log.keyed import KeyBook, KeyedPublish, KeyTakenError
from eventy_sync.storage.log.layout import EVENTS_DIRECTORY, LOCK_FILE, segment_name
from eventy_sync.storage.log.lock import AppendLock
from eventy_sync.storage.log.numbering import LocalNumbering, LogEnd, Numbering, now_microseconds
from eventy_sync.storage.log.record import StoredRecord
from eventy_sync.storage.log.retention import Retention, SegmentSummary, expired
from eventy_sync.storage.log.view import LogView
from eventy_sync.storage.log.writer import Durability, LogWriter

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 64 * 1024 * 1024


class EventLog(LogView):
    """All methods are thread safe, and safe among processes that share the directory.

    After a fork the child must call `abandon` and make a log of its own.
    """

    def __init__(
        self,
        root: Path,
        *,
        durability: Durability = "interval",
        segment_bytes: int = SEGMENT_BYTES,
        retention: Retention | None = None,
        clock: Callable[[], int] = now_microseconds,
        numbering: Numbering | None = None,
        book: KeyBook | None = None,
        on_segment: Callable[[], object] = lambda: None,
        needed_from: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`needed_from` returns the first event that retention must keep, None for none; asked when some would go."""
        make_directory(root / EVENTS_DIRECTORY)
        super().__init__(root)
        self._retention, self._clock, self._needed_from, self._book = retention, clock, needed_from, book
        self._lock = AppendLock(root / LOCK_FILE)
        self._writer = LogWriter(
            self.directory,
            self._catalog,
            self._lock,
            durability=durability,
            segment_bytes=segment_bytes,
            numbering=numbering or LocalNumbering(clock),
            book=book,
            on_rotate=self._drop_expired_after_rotation_locked,
            on_segment=on_segment,
        )
        self._group_commit = GroupCommit(self._writer.commit)

    # -- writing ---------------------------------------------------------------------------------------------

    def append(self, payload_fields: Sequence[bytes]) -> tuple[int, int]:
        """Append one record for each of these and return the first one's id and their time in microseconds.

        All of them are written, or none.  What `fields` of the record module returns goes in here.

        Raises:
            StorageError: the disk refused; nothing was written.
            CoordinationError: ids cannot be had now; nothing was written.
        """
        batch = Batch(payload_fields)
        self._group_commit.append(batch)
        return batch.first_id, batch.at

    def append_keyed(self, key: str, window: int, payload_fields: bytes) -> tuple[int, int] | StoredRecord:
        """Append a record that has this key, and return its id and time; or the record that has the key already.

        `payload_fields` say key and window, in microseconds, themselves.  Raises what `append` does.
        """
        assert self._book is not None, "this log was opened without a book of keys"
        keyed = KeyedPublish(key, window, payload_fields, book=self._book, get=self.get, clock=self._clock)
        try:
            return self._writer.commit_keyed(keyed)
        except KeyTakenError as taken:
            return taken.record

    def appending(self) -> AbstractContextManager[LogEnd]:
        """Return a context manager that holds the append lock and gives the log's end, to append what others numbered.

        Raises:
            StorageError: the log cannot be read or locked.
        """
        return self._writer.appending()

    def drop_expired(self, *, dry_run: bool = False, force: bool = False) -> list[SegmentSummary]:
        """Drop the segments that the log's retention lets go, and return them; with `force` needed ones, too.

        Raises:
            StorageError: a file could not be removed, or who needs what could not be learned.
        """
        with self._lock.threads, self._lock:
            return self._drop_expired_locked(dry_run, force)

    def drop_all(self) -> None:
        """Drop every event.  Ids go on from where they were.

        Raises:
            StorageError: the disk refused; the log then starts a little later than it did.
        """
        self._writer.rotate()
        with self._lock.threads, self._lock:
            self._remove([self._summary(first_id) for first_id in self._catalog.refresh()[:-1]])

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other writer out, after the active segment was sealed: for repair."""
        self._writer.rotate()
        with self._lock.threads, self._lock:
            yield

    def _drop_expired_after_rotation_locked(self) -> None:
        try:
            self._drop_expired_locked()
        except (StorageError, CoordinationError, QueueClosedError) as exc:
            logger.error("retention failed, publishing goes on: %s", exc)

    def _drop_expired_locked(self, dry_run: bool = False, force: bool = False) -> list[SegmentSummary]:
        if self._retention is None:
            return []
        segments = self.summaries()
        going = expired(segments, self._retention, self._clock())
        if going and not force and (needed_from := self._needed_from()) is not None:
            kept = [segment.first_id for segment in going if segment.last_id >= needed_from]
            going = [segment for segment in going if segment.last_id < needed_from]
            if kept:
                logger.warning("retention waits for groups to finish: event=%d segments=%d", needed_from, len(kept))
        if not dry_run:
            self._remove(going)
        return going

    def _remove(self, segments: Sequence[SegmentSummary]) -> None:
        for segment in segments:
            path = self.directory / segment_name(segment.first_id)
            with storage_errors("remove", path):
                os.unlink(path)
            self._summaries.pop(segment.first_id, None)
            logger.info("segment dropped: segment=%s last_id=%d", path.name, segment.last_id)
        if segments:
            with storage_errors("sync", self.directory):
                sync_directory(self.directory)
            self._catalog.refresh()

    def close(self) -> None:
        """Sync what is owed and close every file.  Readers are closed by whoever made them.

        Raises:
            StorageError: the last sync failed.
        """
        try:
            self._writer.close()
        finally:
            self._group_commit.close()
            super().close()

    def abandon(self) -> None:
        """Close the descriptors without taking a lock: for a child after a fork."""
        self._writer.abandon()
        self._lock.close()
