"""Reading a log in order, from any id on, while others append, rotate and drop segments.

A reader takes no lock.  It never moves past a line it could not make sense of until a whole record
behind it proves the line corrupt rather than not yet written; then the damage is handed out once,
as a `CorruptRecordError` in its place among the records.

Whole records of a batch that failed half way may be seen before they are taken back.  The writer
seals such a segment, so it can never grow over the place; a reader that finds itself beyond the
next segment's first id goes back to it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Union

from eventy_sync.errors import CorruptRecordError
from eventy_sync.storage.files import storage_errors
from eventy_sync.storage.log.catalog import Catalog
from eventy_sync.storage.log.layout import segment_name
from eventy_sync.storage.log.record import MAX_RECORD_BYTES, BadRecordError, StoredRecord, parse
from eventy_sync.storage.log.segment import Segment, read_end, records

CHUNK_BYTES = 262_144
SMALLEST_CHUNK_BYTES = 4096
"""Room for what is read costs more than reading it: where little was left, little is asked for next."""

FIRST_RECORD_BYTES = 300
MOST_CHUNKS = 16

Item = Union[StoredRecord, CorruptRecordError]


class LogReader:
    """A place in the log.  One thread only; close it when done."""

    def __init__(self, directory: Path, catalog: Catalog, from_id: int) -> None:
        self.next_id = from_id
        self.record_bytes = FIRST_RECORD_BYTES  # on average, as lately read
        self._directory, self._catalog = directory, catalog
        self._segment: Segment | None = None
        self._position = 0  # in the segment: all before it is taken
        self._expected = from_id  # the next id on disk
        self._last_read = 0
        self._sealed = False
        self._ready: list[Item] = []  # parsed already, but more than the caller wanted
        self._chunk_bytes = CHUNK_BYTES

    def read(self, limit: int) -> list[Item]:
        """Return up to `limit` records and damages that come next; [] when there is nothing new.  Never waits.

        Raises:
            StorageError: a file of the log cannot be opened or read.
        """
        with storage_errors("read", self._directory):
            while not self._ready and self._advance():
                pass
        items, self._ready = self._ready[:limit], self._ready[limit:]
        self.next_id = items[-1].last_id + 1 if self._ready else self._expected
        return items

    def read_range(self, first_id: int, last_id: int) -> list[Item]:
        """Return what there is of these events, wherever the place was; damages may reach beyond them.

        Reads little more than that, which others may be reading on from, and no more than a few megabytes, or a few
        records: read on from the last of them for the rest.  Raises as `read` does.
        """
        items: list[Item] = []
        with storage_errors("read", self._directory):
            self._go_to(first_id)
            for _ in range(MOST_CHUNKS):
                if self.next_id > last_id:
                    break
                wanted_bytes = (last_id - self.next_id + 2) * self.record_bytes * 17 // 16
                self._chunk_bytes = min(max(wanted_bytes, SMALLEST_CHUNK_BYTES), CHUNK_BYTES)
                read = self.read(last_id + 1 - self.next_id)
                if not read:
                    break
                items += read
        if items and (_first_id(items[0]) < first_id or items[-1].last_id > last_id):  # some were taken back; a damage
            items = [each for each in items if _first_id(each) <= last_id and each.last_id >= first_id]
        return items

    def _go_to(self, event_id: int) -> None:
        if self.next_id < event_id <= self._expected:
            self._ready = [each for each in self._ready if each.last_id >= event_id]
        elif event_id != self.next_id:
            if not self._skip_to(event_id):
                self.close()
            self._expected, self._last_read = event_id, 0
        self.next_id = event_id

    def _skip_to(self, event_id: int) -> bool:
        """Go forward inside the open segment, if the event is about where it is to be expected."""
        segment = self._segment
        if segment is None or event_id <= self._expected:
            return False
        end = self._position + (event_id - self._expected + 1) * self.record_bytes * 2
        found = segment.find_id(event_id, self._position, min(end, os.lseek(segment.fd, 0, os.SEEK_END)))
        if found is None or found.record.id != event_id:
            return False
        self._position, self._ready = found.position, []
        return True

    def close(self) -> None:
        """Give the descriptor back.  May be called twice."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        self._ready = []

    def _advance(self) -> bool:
        """Read on from the present place; False when there is nothing more for now."""
        segment = self._segment
        if segment is None:
            return self._open()
        before, data = self._position, self._read_chunk(segment)
        if not data and before > os.lseek(segment.fd, 0, os.SEEK_END):
            self._rewind(segment)
            before, data = self._position, self._read_chunk(segment)
        self._take(segment, data)
        return self._position != before or bool(self._ready) or self._next_segment(segment)

    def _rewind(self, segment: Segment) -> None:
        """Go back to the segment's end as it is now: what we read beyond was taken back."""
        end = read_end(segment.fd, os.lseek(segment.fd, 0, os.SEEK_END))
        self._position = end.position
        self._expected = segment.first_id if end.last is None else end.last.last_id + 1

    def _open(self) -> bool:
        """Open the segment that holds the next event, or the first one after it."""
        first_ids = self._catalog.refresh()
        if not first_ids:
            return False
        first_id = max((each for each in first_ids if each <= self._expected), default=first_ids[0])
        if self._enter(first_id) and first_id < self._expected:
            assert self._segment is not None
            found = self._segment.find_id(self._expected)
            self._position = self._segment.end().position if found is None else found.position
        return True

    def _enter(self, first_id: int) -> bool:
        """Go to the beginning of a segment; False if it was dropped meanwhile."""
        try:
            segment = Segment(self._directory, first_id)
        except FileNotFoundError:
            self._catalog.refresh()
            return False
        if self._segment is not None:
            self._segment.close()
        self._segment, self._position, self._sealed = segment, 0, False
        if first_id > self._expected:
            dropped = first_id == self._catalog.first_ids[0]
            reason = "retention dropped it before it was read" if dropped else "the segment that held it is missing"
            self._lose(segment_name(self._expected), 0, first_id, reason)
        return True

    def _read_chunk(self, segment: Segment) -> bytes:
        """Return what follows the present place, with at least one complete line if there is one."""
        size = self._chunk_bytes
        while True:
            data = os.pread(segment.fd, size, self._position)
            if len(data) < size or b"\n" in data or size > MAX_RECORD_BYTES:
                break
            size *= 4
        self._chunk_bytes = CHUNK_BYTES if len(data) >= SMALLEST_CHUNK_BYTES else SMALLEST_CHUNK_BYTES
        return data

    def _take(self, segment: Segment, data: bytes) -> None:
        """Take the whole records at the beginning of `data`, up to the first line that is none."""
        complete = data.rfind(b"\n")
        if complete < 0:
            if len(data) > MAX_RECORD_BYTES:
                self._step_over(segment, "the line is longer than any record")
            return
        found = data[:complete].split(b"\n")
        self.record_bytes = complete // len(found) + 1
        for line in found:
            try:
                record = parse(line)
            except BadRecordError as exc:
                self._stumble(segment, line, str(exc))
                return
            if record.id == self._expected and not record.gap:  # nearly always
                self._ready.append(record)
                self._last_read = record.id
                self._expected += 1
            elif record.id >= self._expected:
                self._accept(segment, record)
            self._position += len(line) + 1

    def _accept(self, segment: Segment, record: StoredRecord) -> None:
        if record.id > self._expected:
            self._lose(segment.path.name, self._position, record.id, "records are missing")
        if not record.gap:
            self._ready.append(record)
        self._expected = record.last_id + 1
        self._last_read = record.last_id

    def _lose(self, segment: str, position: int, next_id: int, reason: str) -> None:
        """Hand out the events from the expected one to before `next_id` as lost, if there are any."""
        if next_id > self._expected:
            self._ready.append(CorruptRecordError(segment, position, reason, self._expected, next_id - 1))
            self._expected = next_id

    def _stumble(self, segment: Segment, line: bytes, reason: str) -> None:
        """Deal with a complete line that is no record: the seal, or damage."""
        if not line and self._position + 1 == os.lseek(segment.fd, 0, os.SEEK_END):
            self._sealed = True
        else:
            self._step_over(segment, reason)

    def _step_over(self, segment: Segment, reason: str) -> None:
        """Go to the next whole record of this segment, or, if it has ended, to its end."""
        end = os.lseek(segment.fd, 0, os.SEEK_END)
        newer = self._catalog.newer_than(segment.first_id)
        found = next(records(segment.fd, self._position, end), None)
        if found is not None:
            self._lose(segment.path.name, self._position, found.record.id, reason)
            self._position = found.position
        elif newer is not None:
            self._lose(segment.path.name, self._position, newer, reason)
            self._position = end

    def _next_segment(self, segment: Segment) -> bool:
        """Go on to the next segment, if there is one, once this one is read to its end."""
        newer = self._catalog.newer_than(segment.first_id, refresh=self._sealed)
        if newer is None:
            return False
        if not self._sealed and self._position < os.lseek(segment.fd, 0, os.SEEK_END):
            self._step_over(segment, "the segment ends in the middle of a record")
            return True
        if newer <= self._last_read:
            self._expected = newer  # what we read from there on was taken back
        self._enter(newer)
        return True


def _first_id(item: Item) -> int:
    return item.id if isinstance(item, StoredRecord) else item.first_id
