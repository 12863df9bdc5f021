"""Publishing under a key: the book finds an event, the log decides whether it counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventy_sync.errors import StorageError
from eventy_sync.storage.log import Entry, EventLog, KeyEntry, Marks, Retention, StoredRecord, fields
from eventy_sync.storage.state import StateStore

WINDOW = 1_000_000


class Log:
    """A log with a book in `state.db`, and a clock that stands still."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.now = 1_700_000_000_000_000
        self.store = StateStore(root / "state.db")
        self.book = self.store.keys
        self.log = EventLog(
            root,
            durability="os",
            segment_bytes=1024,
            retention=Retention(max_events=5),
            clock=lambda: self.now,
            book=self.book,
        )

    def publish(self, key: str = "a") -> int:
        """Publish under a key, and return the event's id, negative if it was there."""
        done = self.log.append_keyed(key, WINDOW, fields(b"1", "json", Marks(key, WINDOW)))
        return -done.id if isinstance(done, StoredRecord) else done[0]

    def fill(self, count: int) -> None:
        for _ in range(count):
            self.log.append([fields(b'"%b"' % (b"x" * 300), "json")])


@pytest.fixture
def log(root: Path) -> Iterator[Log]:
    made = Log(root)
    yield made
    made.log.close()
    made.store.close()


def test_a_key_is_taken_for_its_window(log: Log) -> None:
    """To the microsecond, by the event's own time; another key is another event."""
    assert [log.publish(), log.publish(), log.publish("b")] == [1, -1, 2]
    log.now += WINDOW - 1
    assert log.publish() == -1
    log.now += 1
    assert [log.publish(), log.publish()] == [3, -3]


def test_an_entry_whose_event_was_never_written_does_not_count(log: Log) -> None:
    """Its writer died between book and log; nor does it when another event has got that id."""
    log.book.note([KeyEntry("a", 1, log.now + WINDOW)], log.now)
    assert log.publish("b") == 1
    assert [log.publish("a"), log.publish("a"), log.publish("b")] == [2, -2, -1]


def test_a_failed_write_takes_no_key(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event is published at the next attempt."""

    def refuse(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eventy_sync.storage.log.writer.write_all", refuse)
    with pytest.raises(StorageError, match="nothing was written"):
        log.publish()
    monkeypatch.undo()
    assert [log.publish(), log.publish()] == [1, -1]


def test_what_retention_has_dropped_takes_no_key(log: Log) -> None:
    """Though its window is not over."""
    assert log.publish() == 1
    log.fill(20)
    assert log.log.oldest() > 1
    assert [log.publish(), log.publish()] == [22, -22]


def test_events_that_were_numbered_elsewhere_take_their_keys_here(log: Log) -> None:
    """Whole batches; what is no record takes none, and the last event of a key has it."""
    marked = [fields(b"1", "json", Marks(key, WINDOW)) for key in ("a", "b", "a")]
    entries = [Entry(number, log.now, each) for number, each in enumerate([*marked, b'"key":"c","window":0'], 1)]
    with log.log.appending() as end:
        end.extend_locked(entries)
    assert [log.publish("a"), log.publish("b"), log.publish("c")] == [-3, -2, 5]


def test_keys_whose_time_is_over_are_forgotten(log: Log) -> None:
    """The book does not grow for ever."""
    for number in range(20):
        log.publish(f"k{number}")
    log.now += WINDOW
    log.publish()
    database = log.store.keys._connection
    assert database.rows("SELECT key FROM event_keys") == [("a",)]
