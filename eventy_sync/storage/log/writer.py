"""The one place that appends to a log.

Every append holds the append lock and goes: has the file grown since we last looked? then learn its
end, and cut off what a dead writer left torn → ids and times from a `Numbering` → one write → sync
as the durability says.  A failed write is taken back by cutting the file to its old size; a failed sync is never tried
again, because the kernel may have dropped the pages: the writer refuses from then on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from eventy_sync.errors import StorageError
from eventy_sync.storage.files import open_file, storage_errors, sync_directory, write_all
from eventy_sync.storage.log.catalog import Catalog
from eventy_sync.storage.log.group_commit import Batch
from eventy_sync.storage.log.interval_sync import IntervalSync
from eventy_sync.storage.log.keyed import KeyBook, KeyedPublish, keys_in
from eventy_sync.storage.log.layout import broken_path, segment_name
from eventy_sync.storage.log.lock import AppendLock
from eventy_sync.storage.log.numbering import Entry, Numbering, not_written_yet, now_microseconds
from eventy_sync.storage.log.record import build, build_all, gap_fields, has_key
from eventy_sync.storage.log.segment import read_end

logger = logging.getLogger(__name__)

Durability = Literal["os", "interval", "fsync"]


class LogWriter:
    """The active segment, open for appending.  All methods ending in `_locked` need the append lock."""

    def __init__(
        self,
        directory: Path,
        catalog: Catalog,
        lock: AppendLock,
        *,
        durability: Durability,
        segment_bytes: int,
        numbering: Numbering,
        book: KeyBook | None = None,
        on_rotate: Callable[[], object] = lambda: None,
        on_segment: Callable[[], object] = lambda: None,
    ) -> None:
        # fixed after construction
        self._directory, self._catalog, self._lock = directory, catalog, lock
        self._durability, self._segment_bytes = durability, segment_bytes
        self._numbering, self._on_rotate, self._on_segment = numbering, on_rotate, on_segment
        self._book = book
        self._interval_sync = IntervalSync(f"eventy-{directory.parent.name}-sync", self._sync_now)
        # guarded by the append lock
        self._fd = -1
        self._path = directory
        self._first_id = 0
        self._size = 0  # up to here the file is known
        self.tail = 0
        self.last_at = 0
        self.tail_at = 0
        self._sealed = False
        self._poison: str | None = None

    def commit(self, batches: Sequence[Batch]) -> None:
        """Write all of these, or raise and have written none.

        Raises:
            StorageError: the disk refused; or a sync had failed before and the queue must be reopened.
            CoordinationError: ids cannot be had.
        """
        with self._lock.threads, self._lock:
            self._catch_up_locked()
            payload_fields = batches[0].payload_fields
            if len(batches) > 1:
                payload_fields = [each for batch in batches for each in batch.payload_fields]
            first_id, at = self._numbering.number(self, payload_fields)
            next_id = first_id
            for batch in batches:
                batch.first_id, batch.at = next_id, at
                next_id += len(batch.payload_fields)
            if next_id - 1 > self.tail:  # else numbering found them in the log: they came in while it asked
                self._append_numbered_locked(build_all(first_id, at, payload_fields), next_id - 1, at)
        self._owe_sync()

    def commit_keyed(self, keyed: KeyedPublish) -> tuple[int, int]:
        """Write an event that has a key, and return its id and time; raises what `commit` does.

        Raises:
            KeyTakenError: another event has the key; nothing was written.
        """
        with self._lock.threads, self._lock:
            self._catch_up_locked()
            event_id, at = self._numbering.number_keyed(self, keyed)
            if event_id > self.tail:
                line = build(event_id, at, keyed.payload_fields)
                self._append_numbered_locked([line], event_id, at, before=lambda: keyed.note(event_id, at))
        self._owe_sync()
        return event_id, at

    @contextmanager
    def appending(self) -> Iterator[LogWriter]:
        """Hold the append lock, having caught up: `tail` and `last_at` are the log's, `extend_locked` may be called.

        Raises:
            StorageError: the log cannot be read or locked.
        """
        with self._lock.threads, self._lock:
            self._catch_up_locked()
            yield self
        self._owe_sync()

    def extend_locked(self, entries: Sequence[Entry]) -> None:
        """Append records that were numbered elsewhere and follow the tail; what is here already is passed over.

        Raises:
            StorageError: the disk refused, nothing was written; or they leave a hole behind the tail.
        """
        new = [entry for entry in entries if entry.id > self.tail]
        if not new:
            return
        if [entry.id for entry in new] != list(range(self.tail + 1, self.tail + 1 + len(new))):
            raise StorageError(f"events {self.tail + 1} to {new[-1].id} did not all arrive; nothing was appended")
        lines = [build(entry.id, entry.at, entry.payload_fields) for entry in new]
        if self._book is not None and any(has_key(entry.payload_fields) for entry in new):
            self._book.note(keys_in(lines), now_microseconds())
        self._append_locked(lines, new[-1].id, min(entry.at for entry in new), new[-1].at)

    def lose_locked(self, last_id: int) -> None:
        """Append a record that says that the events from the tail to this one are lost.

        Raises:
            StorageError: the disk refused.
        """
        line = build(self.tail + 1, self.last_at, gap_fields(last_id))
        self._append_locked([line], last_id, self.last_at, self.last_at)
        self.tail_at = 0

    def start_after_locked(self, last_id: int) -> None:
        """Let a log that is empty begin behind this id: its next event has the id that follows.

        Raises:
            StorageError: the disk refused, or the log is not empty.
        """
        if self.tail or self._first_id != 1:
            raise StorageError(f"{str(self._directory)!r} is not empty; it cannot begin at event {last_id + 1}")
        unused = self._path
        os.close(open_file(self._directory / segment_name(last_id + 1), os.O_WRONLY | os.O_CREAT))
        self._seal_locked()  # whoever watches the unused segment looks for a newer one now
        self._open_segment_locked(last_id + 1, os.O_CREAT)
        with storage_errors("remove", unused):
            os.unlink(unused)
        self._catalog.refresh()

    def _append_numbered_locked(
        self, lines: Sequence[bytes], last_id: int, at: int, before: Callable[[], object] = lambda: None
    ) -> None:
        try:
            before()
            self._append_locked(lines, last_id, at, at)
        except StorageError as exc:
            if self._numbering.is_shared:
                raise not_written_yet(last_id - len(lines) + 1, exc) from exc
            raise

    def _append_locked(self, lines: Sequence[bytes], last_id: int, earliest_at: int, last_at: int) -> None:
        if self._size >= self._segment_bytes or earliest_at < self.last_at:
            self._make_room_locked()
        data = b"".join(lines)
        self._write_locked(data, len(lines))
        self.tail, self.last_at, self.tail_at = last_id, last_at, last_at
        self._size += len(data)  # last: who is interrupted before it learns the end anew
        if self._durability == "fsync":
            self._sync_locked()

    def _owe_sync(self) -> None:
        if self._durability == "interval" and not self._interval_sync.marked:
            self._interval_sync.mark()

    def rotate(self) -> None:
        """Seal the active segment, unless it is empty, and go on in a new one."""
        with self._lock.threads, self._lock:
            self._catch_up_locked()
            self.rotate_locked()

    def rotate_locked(self) -> None:
        """Do what `rotate` does: every process that appends opens the new segment before it appends again."""
        if self.tail >= self._first_id:
            self._rotate_locked()

    def close(self) -> None:
        """Sync what an interval still owes, close the segment and give the lock back for good.

        Raises:
            StorageError: that last sync failed.
        """
        owed = self._interval_sync.stop()
        with self._lock.threads, self._lock:
            try:
                if owed and self._poison is None and self._fd >= 0:
                    self._sync_locked()
            finally:
                self._close_segment()
                self._lock.close()  # before it is let go: whoever waits must not open the segment again

    def abandon(self) -> None:
        """Close the descriptor without locks or syncs: for a child after a fork, where it is the parent's."""
        self._close_segment()

    def _close_segment(self) -> None:
        fd, self._fd = self._fd, -1  # in this order: an interrupt must not let it be closed twice
        if fd >= 0:
            os.close(fd)

    # -- what others did ---------------------------------------------------------------------------------------

    def _catch_up_locked(self) -> None:
        """Learn what is at the log's end, whoever wrote it, and leave it whole."""
        if self._poison is not None:
            raise StorageError(self._poison)
        if self._fd < 0 or self._sealed:
            self._open_newest_locked()
        while os.lseek(self._fd, 0, os.SEEK_END) != self._size:
            self._learn_end_locked()
            if not self._sealed:
                return
            self._open_newest_locked()

    def _open_newest_locked(self) -> None:
        """Open the newest segment, making it if there is none, or if the newest is sealed."""
        first_ids = self._catalog.refresh()
        if first_ids and first_ids[-1] > self._first_id:
            self._open_segment_locked(first_ids[-1], 0)
            self._learn_end_locked()
        if not first_ids or self._sealed:
            self._open_segment_locked(self.tail + 1, os.O_CREAT)

    def _open_segment_locked(self, first_id: int, create: int) -> None:
        path = self._directory / segment_name(first_id)
        try:
            fd = open_file(path, os.O_RDWR | os.O_APPEND | create)
        except FileNotFoundError as exc:
            raise StorageError(
                f"the segment {str(path)!r} was taken away while in use; run eventy-sync verify"
            ) from exc
        self._close_segment()
        self._fd, self._path, self._first_id = fd, path, first_id
        self._size, self.tail, self._sealed = 0, first_id - 1, False
        self.last_at = self.tail_at = 0
        self._on_segment()
        if create:
            self._catalog.refresh()
        if self._durability != "os":  # whoever made it may have died before its name was on disk
            try:
                sync_directory(self._directory)
            except OSError as exc:
                self._refuse_from_now_on(exc)
                raise StorageError(str(self._poison)) from exc

    def _learn_end_locked(self) -> None:
        with storage_errors("read", self._path):
            size = os.lseek(self._fd, 0, os.SEEK_END)
            end = read_end(self._fd, size)
        self._sealed = end.sealed
        if end.last is not None:
            self.tail, self.last_at = end.last.last_id, end.last.at
            self.tail_at = 0 if end.last.gap else end.last.at
        if not end.sealed and end.position < size:
            self._cut_torn_locked(end.position, size)
            size = end.position
        self._size = size

    def _cut_torn_locked(self, position: int, size: int) -> None:
        """Cut off what a dead writer left unfinished, and keep the bytes beside the segment."""
        kept = broken_path(self._path)
        with storage_errors("cut the torn end of", self._path):
            fd = open_file(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                write_all(fd, os.pread(self._fd, size - position, position))
                os.fsync(fd)
            finally:
                os.close(fd)
            os.ftruncate(self._fd, position)
        logger.warning("torn end cut: segment=%s position=%d bytes=%d", self._path.name, position, size - position)

    # -- what we do --------------------------------------------------------------------------------------------

    def _make_room_locked(self) -> None:
        """Start a new segment: the active one is full or the clock has stepped back."""
        if self.tail >= self._first_id:
            self._rotate_locked()
            self._on_rotate()

    def _rotate_locked(self) -> None:
        """Seal first, then make the next: who dies between leaves a sealed end, which says all."""
        self._seal_locked()
        self._open_segment_locked(self.tail + 1, os.O_CREAT)

    def _seal_locked(self) -> None:
        with storage_errors("seal", self._path):
            write_all(self._fd, b"\n")
        self._sealed, self._size = True, self._size + 1
        if self._durability != "os":  # the next segment must not be on disk without this one
            self._sync_locked()

    def _write_locked(self, data: bytes, count: int) -> None:
        try:
            write_all(self._fd, data)
        except OSError as exc:
            self._take_back_locked(count)
            reason = exc.strerror or exc
            raise StorageError(f"cannot append to {str(self._path)!r}: {reason}; nothing was written") from exc

    def _take_back_locked(self, count: int) -> None:
        """Cut the file to its old size.  Readers may have seen whole records of a batch: seal it then (see reader)."""
        try:
            os.ftruncate(self._fd, self._size)
            if count > 1 and self.tail >= self._first_id:
                self._seal_locked()
        except (OSError, StorageError) as exc:
            self._poison = f"a failed write to {str(self._path)!r} could not be taken back ({exc}); reopen the queue"
            logger.error("write not taken back: segment=%s error=%s", self._path.name, exc)

    def _sync_locked(self) -> None:
        try:
            os.fsync(self._fd)
        except OSError as exc:
            self._refuse_from_now_on(exc)
            raise StorageError(str(self._poison)) from exc

    def _sync_now(self) -> None:
        """Sync from the interval's thread, without holding up appends."""
        with self._lock.threads, self._lock:
            if self._fd < 0 or self._poison is not None:
                return
            fd = os.dup(self._fd)
        try:
            os.fsync(fd)
        except OSError as exc:
            self._refuse_from_now_on(exc)
        finally:
            os.close(fd)

    def _refuse_from_now_on(self, exc: OSError) -> None:
        reason = exc.strerror or exc
        self._poison = (
            f"syncing {str(self._path)!r} failed ({reason}): events may be lost at a power cut; reopen the queue"
        )
        logger.error("sync failed, refusing appends: segment=%s error=%s", self._path.name, reason)
