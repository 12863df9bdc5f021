"""A log as it is on disk: the tail, records by id and by time, segments.  Takes no lock and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from eventy_sync.errors import CorruptRecordError, EventExpiredError, EventNotFoundError
from eventy_sync.storage.files import read_errors
from eventy_sync.storage.log.catalog import Catalog
from eventy_sync.storage.log.layout import EVENTS_DIRECTORY
from eventy_sync.storage.log.reader import LogReader
from eventy_sync.storage.log.record import StoredRecord
from eventy_sync.storage.log.retention import SegmentSummary
from eventy_sync.storage.log.segment import Segment
from eventy_sync.storage.log.tail import Tail

_END_OF_TIME = 2**63 - 1


class LogView:
    """Reads the log of a root whose ``events/`` is there.  Close it when done.  All methods are thread safe."""

    def __init__(self, root: Path) -> None:
        """Raise StorageError if the directory cannot be listed."""
        self.directory = root / EVENTS_DIRECTORY
        self._catalog = Catalog(self.directory)
        self._catalog.refresh()
        self._tail = Tail(self.directory, self._catalog)
        self._summaries: dict[int, SegmentSummary] = {}  # of sealed segments, which never change

    def close(self) -> None:
        """Close every file.  Readers are closed by whoever made them.

        Raises:
            StorageError: what was written is not all durable.
        """
        self._tail.close()

    def tail(self) -> int:
        """Return the id of the last event, 0 if there never was one.  One system call when nothing has changed.

        Raises:
            StorageError: the log cannot be read.
        """
        return self._tail.last_id()

    def oldest(self, *, refresh: bool = False) -> int:
        """Return the id of the oldest event that is kept; one more than the tail when the log is empty.

        Another process may have dropped it since this one looked last, unless with `refresh`: it looks now.
        """
        first_ids = (not refresh and self._catalog.first_ids) or self._catalog.refresh()
        return first_ids[0] if first_ids else 1

    def reader(self, from_id: int) -> LogReader:
        """Return a reader whose first event is this one, or the first one that follows."""
        return LogReader(self.directory, self._catalog, from_id)

    def get(self, event_id: int) -> StoredRecord:
        """Return one record.

        Raises:
            EventExpiredError: retention has dropped it.
            EventNotFoundError: there is none yet.
            CorruptRecordError: it was there and cannot be read any more.
        """
        if not 0 < event_id <= self.tail():
            raise EventNotFoundError(f"there is no event {event_id}; the last one is {self.tail()}")
        if (first_id := self._catalog.holding(event_id)) is None or event_id < self.oldest():
            raise self._expired(event_id)
        try:
            return self._read(first_id, event_id)
        except FileNotFoundError:
            self._catalog.refresh()
            raise self._expired(event_id) from None

    def _read(self, first_id: int, event_id: int) -> StoredRecord:
        with read_errors(self.directory), Segment(self.directory, first_id) as segment:
            found = segment.find_id(event_id)
            if found is None or found.record.id != event_id or found.record.gap:
                position = segment.size if found is None else found.position
                raise CorruptRecordError(segment.path.name, position, "it cannot be read", event_id, event_id)
            return found.record

    def _expired(self, event_id: int) -> EventExpiredError:
        return EventExpiredError(f"event {event_id} was dropped by retention; the oldest kept is {self.oldest()}")

    def summaries(self) -> list[SegmentSummary]:
        """Return all segments, oldest first, the active one last."""
        found = []
        for first_id in self._catalog.refresh():
            with suppress(FileNotFoundError):  # dropped meanwhile
                found.append(self._summary(first_id))
        return found

    def _summary(self, first_id: int) -> SegmentSummary:
        if (known := self._summaries.get(first_id)) is not None:
            return known
        with read_errors(self.directory), Segment(self.directory, first_id) as segment:
            end = segment.end()
            newer = self._catalog.newer_than(first_id)
            last_id = newer - 1 if newer is not None else (end.last.last_id if end.last else first_id - 1)
            summary = SegmentSummary(first_id, last_id, segment.size, end.last.at if end.last else None)
        if end.sealed and newer is not None:
            self._summaries[first_id] = summary
        return summary

    def time_ranges(self, from_id: int, earliest: int | None, latest: int | None) -> Iterator[tuple[int, int]]:
        """Yield first and last id of each run of events from `from_id` on, written between two times, both included.

        Times are in microseconds UTC.  A clock that stepped back makes more than one run.
        """
        for first_id in self._catalog.refresh():
            newer = self._catalog.newer_than(first_id)
            if newer is not None and newer <= from_id:
                continue
            try:
                first, last = self._time_range(first_id, earliest, latest)
            except FileNotFoundError:
                continue  # dropped meanwhile
            if max(first, from_id) <= last:
                yield max(first, from_id), last

    def _time_range(self, first_id: int, earliest: int | None, latest: int | None) -> tuple[int, int]:
        summary = self._summary(first_id)
        if summary.last_at is not None and earliest is not None and summary.last_at < earliest:
            return 1, 0
        with read_errors(self.directory), Segment(self.directory, first_id) as segment:
            low = segment.find_time(earliest) if earliest is not None else segment.first()
            high = segment.find_time(latest + 1) if latest is not None and latest < _END_OF_TIME else None
        if low is None:
            return 1, 0
        return low.record.id, summary.last_id if high is None else high.record.id - 1

    def size_bytes(self) -> int:
        """Return what all segments take together."""
        return sum(segment.size_bytes for segment in self.summaries())
