"""Reading ranges of a log in any order, against reading it from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventy_sync import CorruptRecordError, Retention
from eventy_sync.storage.log import EventLog, LogReader, StoredRecord, fields

COUNT = 120
DAMAGED = [20, 21, 57]


def make_log(root: Path) -> EventLog:
    """Make a log of records of many lengths in many segments, some of them damaged."""
    log = EventLog(root, durability="os", segment_bytes=1024)
    for number in range(1, COUNT + 1):
        log.append([fields(b'"%b"' % (b"x" * (number * 37 % 300)), "json")])
    for path in (root / "events").glob("*.log"):
        lines = path.read_bytes().split(b"\n")
        damaged = [
            b"0" * 8 + line[8:] if any(b'"id":%d,' % each in line for each in DAMAGED) else line for line in lines
        ]
        path.write_bytes(b"\n".join(damaged))
    return log


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    log = make_log(tmp_path_factory.mktemp("log"))
    assert len(list(log.directory.iterdir())) > 5
    yield log
    log.close()


def told(items: list[StoredRecord | CorruptRecordError], first_id: int, last_id: int) -> dict[int, bytes | None]:
    """Return what was read of each event of a range, None for what is lost, having looked whether it is in order."""
    found: dict[int, bytes | None] = {}
    for item in items:
        assert item.last_id >= first_id
        if isinstance(item, StoredRecord):
            found[item.id] = item.body
        else:
            assert item.first_id <= last_id
            lost = range(max(first_id, item.first_id), min(last_id, item.last_id) + 1)
            assert not found.keys() & set(lost)
            found |= dict.fromkeys(lost)
    assert list(found) == sorted(found)
    return found


def read_all(log: EventLog) -> dict[int, bytes | None]:
    reader = log.reader(1)
    items = []
    while read := reader.read(10):
        items += read
    reader.close()
    return told(items, 1, COUNT)


@pytest.fixture
def reader(log: EventLog) -> Iterator[LogReader]:
    reader = log.reader(1)
    yield reader
    reader.close()


def test_the_log_is_as_the_tests_want_it(log: EventLog) -> None:
    """All is there but what was damaged."""
    everything = read_all(log)
    assert list(everything) == list(range(1, COUNT + 1))
    assert [each for each, body in everything.items() if body is None] == DAMAGED


@given(ranges=st.lists(st.tuples(st.integers(1, COUNT), st.integers(0, 30)), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_ranges_in_any_order_are_what_plain_reading_gives(log: EventLog, ranges: list[tuple[int, int]]) -> None:
    """Forward, back, over the borders of segments, into and over damages, beyond the end."""
    everything = read_all(log)
    reader = log.reader(1)
    for first_id, more in ranges:
        last_id = first_id + more
        found = told(reader.read_range(first_id, last_id), first_id, last_id)
        assert found == {each: everything[each] for each in range(first_id, min(last_id, COUNT) + 1)}
    reader.close()


@given(strides=st.lists(st.tuples(st.integers(0, 25), st.integers(0, 9)), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_ranges_that_leave_holes_between_them_are_read_right(log: EventLog, strides: list[tuple[int, int]]) -> None:
    """As workers read that share the events."""
    everything = read_all(log)
    reader, place = log.reader(1), 1
    for gap, more in strides:
        first_id = min(place + gap, COUNT)
        last_id = min(first_id + more, COUNT)
        found = told(reader.read_range(first_id, last_id), first_id, last_id)
        assert found == {each: everything[each] for each in range(first_id, last_id + 1)}
        place = last_id + 1
    reader.close()


def test_plain_reading_goes_on_behind_a_range(log: EventLog, reader: LogReader) -> None:
    """At its end."""
    reader.read_range(30, 39)
    assert reader.next_id == 40
    assert reader.read(1)[0].last_id == 40


def test_a_range_is_read_as_far_as_it_is_there(tmp_path: Path) -> None:
    """The rest comes once it is."""
    log = EventLog(tmp_path, durability="os")
    reader = log.reader(1)
    assert reader.read_range(1, 3) == []
    log.append([fields(b"1", "json")] * 2)
    assert [item.last_id for item in reader.read_range(1, 3)] == [1, 2]
    log.append([fields(b"1", "json")] * 2)
    assert [item.last_id for item in reader.read_range(3, 4)] == [3, 4]
    reader.close()
    log.close()


def test_a_range_of_large_records_comes_in_parts(tmp_path: Path) -> None:
    """Whoever asks for many small ones and finds large ones does not get them all into memory."""
    log = EventLog(tmp_path, durability="os")
    log.append([fields(b'"%b"' % (b"x" * 1_000_000), "json")] * 40)
    reader, place, sizes = log.reader(1), 1, []
    while items := reader.read_range(place, 40):
        assert [each.last_id for each in items] == list(range(place, items[-1].last_id + 1))
        place, sizes = items[-1].last_id + 1, [*sizes, len(items)]
    assert place == 41
    assert max(sizes) < 20
    reader.close()
    log.close()


def test_what_was_dropped_is_said_to_be(tmp_path: Path) -> None:
    """Once, in its place before what is left, also for a reader that was open at the time."""
    log = EventLog(tmp_path, durability="os", segment_bytes=1024)
    for _ in range(60):
        log.append([fields(b'"%b"' % (b"x" * 90), "json")])
    reader = log.reader(1)
    assert len(reader.read_range(1, 3)) == 3
    log.close()
    log = EventLog(tmp_path, durability="os", segment_bytes=1024, retention=Retention(max_events=20))
    log.drop_expired()
    oldest = log.oldest()
    for each in (reader, log.reader(1)):
        lost, *left = each.read_range(oldest - 4, oldest + 3)
        assert isinstance(lost, CorruptRecordError)
        assert (lost.first_id, lost.last_id) == (oldest - 4, oldest - 1)
        assert "retention dropped it" in str(lost)
        assert [item.last_id for item in left] == list(range(oldest, oldest + 4))
        each.close()
    log.close()


def test_no_record_from_before_the_range_is_in_it(tmp_path: Path) -> None:
    """Though a batch that was read was taken back, and its ids given to others."""
    log = EventLog(tmp_path, durability="os")
    log.append([fields(b"1", "json")] * 4)
    first = next((tmp_path / "events").iterdir())
    size = first.stat().st_size
    log.append([fields(b'"taken back"', "json")] * 4)
    reader = log.reader(1)
    assert len(reader.read_range(1, 6)) == 6
    log.close()
    with first.open("r+b") as file:  # as a writer does whose batch fails half way
        file.truncate(size)
        file.seek(size)
        file.write(b"\n")
    log = EventLog(tmp_path, durability="os")
    log.append([fields(b'"new"', "json")] * 4)
    assert [item.last_id for item in reader.read_range(7, 8)] == [7, 8]
    assert [item.body for item in reader.read_range(5, 6) if isinstance(item, StoredRecord)] == [b'"new"'] * 2
    reader.close()
    log.close()
