"""Putting a root's own events into the journal, where the server has lost them or never had them."""

from __future__ import annotations

from collections.abc import Iterator

from eventy_sync.errors import CorruptRecordError, EventNotFoundError
from eventy_sync.redis.journal import PAGE_BYTES, PAGE_ENTRIES, Journal
from eventy_sync.storage.log import Entry, EventLog, StoredRecord


class Filling:
    """Compares log and journal, and fills the journal from the log."""

    def __init__(self, journal: Journal, journal_length: int) -> None:
        self._journal, self._length = journal, journal_length

    def has_diverged(self, log: EventLog, tail: int, journaled_id: int) -> bool:
        """Return whether the last event that both should have is not the same in both."""
        probe = min(tail, journaled_id)
        entry = self._journal.entry(probe) if probe else None
        if entry is None:
            return False
        try:
            return entry != _entry_of(log.get(probe))
        except (EventNotFoundError, CorruptRecordError):
            return False  # nothing to compare

    def fill(self, log: EventLog, epoch: bytes, journaled_id: int, tail: int, *, anew: bool) -> None:
        """Journal this log's events up to its tail, behind what is there or, `anew`, in its place."""
        first_id = max(journaled_id + 1, tail - self._length + 1)
        if anew or first_id > journaled_id + 1:
            anew, first_id = True, max(1, tail - self._length + 1)
        for entries in pages(log, first_id, tail):
            if entries[0].id != first_id:
                anew = True  # what lies between is lost here, too: the journal begins behind it
            if self._journal.fill(epoch, entries, anew=anew) < 0:
                return
            anew, first_id = False, entries[-1].id + 1
        if first_id <= tail:  # the last events are lost here, too
            self._journal.begin_behind(epoch, tail)


def pages(log: EventLog, first_id: int, tail: int) -> Iterator[list[Entry]]:
    """Yield the events of a log from one to another, in runs without a hole, of about `PAGE_BYTES` at most."""
    reader = log.reader(first_id)
    page: list[Entry] = []
    size_bytes = 0
    try:
        while reader.next_id <= tail and (items := reader.read(PAGE_ENTRIES)):
            for item in items:
                if isinstance(item, StoredRecord) and item.id <= tail:
                    if page and (item.id != page[-1].id + 1 or len(page) >= PAGE_ENTRIES or size_bytes > PAGE_BYTES):
                        yield page
                        page, size_bytes = [], 0
                    page.append(_entry_of(item))
                    size_bytes += len(page[-1].payload_fields)
        if page:
            yield page
    finally:
        reader.close()


def _entry_of(record: StoredRecord) -> Entry:
    return Entry(record.id, record.at, record.payload_fields)
