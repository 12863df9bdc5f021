"""The event log, on a real directory."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from eventy_sync.errors import (
    CorruptRecordError,
    EventExpiredError,
    EventNotFoundError,
    QueueClosedError,
    StorageError,
)
from eventy_sync.storage.log import EventLog, Retention, StoredRecord, fields, repair, verify


@pytest.fixture
def log(root: Path) -> Iterator[EventLog]:
    """A log with small segments."""
    root.mkdir()
    log = EventLog(root, durability="os", segment_bytes=1024)
    yield log
    log.close()


def append(log: EventLog, count: int) -> None:
    for number in range(count):
        log.append([fields(b'{"n":%d}' % number, "json")])


def read_all(log: EventLog, from_id: int = 1) -> list[StoredRecord | CorruptRecordError]:
    reader = log.reader(from_id)
    items = []
    while some := reader.read(7):
        items += some
    reader.close()
    return items


def ids(items: list[StoredRecord | CorruptRecordError]) -> list[int]:
    return [item.id for item in items if isinstance(item, StoredRecord)]


def reopened(root: Path) -> EventLog:
    return EventLog(root, durability="os", segment_bytes=1024)


def test_ids_start_at_one_and_grow_by_one_through_rotations(log: EventLog) -> None:
    """Events are numbered from 1 without gaps, whatever segment they are in."""
    append(log, 100)
    assert ids(read_all(log)) == list(range(1, 101))
    assert len(log.summaries()) > 3
    assert log.tail() == 100


def test_every_event_is_found_by_its_id(log: EventLog) -> None:
    """Bisection finds each id."""
    append(log, 100)
    assert [log.get(number).body for number in range(1, 101)] == [b'{"n":%d}' % number for number in range(100)]


def test_whoever_asks_a_closed_log_is_refused_and_opens_nothing(root: Path) -> None:
    """A thread that has not heard of the end would leave a descriptor behind."""
    root.mkdir()
    log = EventLog(root, durability="os")
    append(log, 1)
    assert log.tail() == 1
    log.close()
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for ask in (log.tail, lambda: log.get(1), lambda: append(log, 1)):
        with pytest.raises(QueueClosedError, match="closed meanwhile"):
            ask()
    assert not before or os.listdir("/proc/self/fd") == before


def test_an_event_that_was_never_written_is_not_found(log: EventLog) -> None:
    """Ids beyond the tail raise EventNotFoundError."""
    append(log, 1)
    with pytest.raises(EventNotFoundError, match="the last one is 1"):
        log.get(2)


def test_binary_payloads_come_back_whole(log: EventLog) -> None:
    """A serializer other than JSON is stored with its name."""
    log.append([fields(b"\x00\n\xff", "msgpack")])
    assert (log.get(1).body, log.get(1).encoding) == (b"\x00\n\xff", "msgpack")


def test_a_log_cut_at_every_byte_of_its_last_record_loses_that_record_only(root: Path) -> None:
    """A torn end is cut off and kept; the id is given out again."""
    root.mkdir()
    log = EventLog(root, durability="os")
    append(log, 3)
    log.close()
    path = root / "events" / "00000000000000000001.log"
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        log = EventLog(root, durability="os")
        assert ids(read_all(log)) == [1, 2], cut
        assert log.append([b'"payload":"new"'])[0] == 3
        assert ids(read_all(log)) == [1, 2, 3]
        assert verify(log).damages == []
        log.close()
        assert path.read_bytes()[:start] == whole[:start]
    kept = sorted(each.stat().st_size for each in (root / "events").glob("*.broken"))
    assert kept == list(range(1, len(whole) - start))


def test_every_byte_of_a_middle_record_flipped_is_reported_and_stepped_over(root: Path) -> None:
    """A corrupt record costs itself and nothing else, and stays on disk as it is."""
    root.mkdir()
    log = EventLog(root, durability="os")
    append(log, 5)
    log.close()
    path = root / "events" / "00000000000000000001.log"
    whole = path.read_bytes()
    start = len(b"".join(whole.splitlines(keepends=True)[:2]))
    end = start + len(whole.splitlines(keepends=True)[2])
    for place in range(start, end):
        for flip in (0x01, 0x0A ^ whole[place], 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            if damaged == whole:
                continue
            path.write_bytes(damaged)
            log = EventLog(root, durability="os")
            items = read_all(log)
            damages = [item for item in items if isinstance(item, CorruptRecordError)]
            expected = [1, 2, 5] if place == end - 1 else [1, 2, 4, 5]
            assert ids(items) == expected, (place, flip)
            assert [(each.first_id, each.position) for each in damages] == [(3, start)]
            with pytest.raises(CorruptRecordError):
                log.get(3)
            assert log.append([b'"payload":6'])[0] == 6
            log.close()
            assert path.read_bytes()[: len(damaged)] == damaged


def test_zeros_at_the_end_are_cut_off(root: Path) -> None:
    """What a file system leaves after a power cut does not hide what comes next."""
    root.mkdir()
    log = EventLog(root, durability="os")
    append(log, 3)
    log.close()
    with (root / "events" / "00000000000000000001.log").open("ab") as file:
        file.write(b"\0" * 4096)
    log = EventLog(root, durability="os")
    assert (log.tail(), ids(read_all(log))) == (3, [1, 2, 3])
    append(log, 1)
    assert ids(read_all(log)) == [1, 2, 3, 4]
    log.close()


def test_a_missing_middle_segment_is_one_damage(log: EventLog) -> None:
    """Events of a segment that is gone are reported as lost; the others are read."""
    append(log, 100)
    segments = log.summaries()
    gone = segments[1]
    (log.directory / f"{gone.first_id:020d}.log").unlink()
    items = read_all(log)
    lost = [item for item in items if isinstance(item, CorruptRecordError)]
    assert [(each.first_id, each.last_id) for each in lost] == [(gone.first_id, gone.last_id)]
    assert ids(items) == [number for number in range(1, 101) if not gone.first_id <= number <= gone.last_id]
    with pytest.raises(CorruptRecordError):
        log.get(gone.first_id)


def test_repair_marks_what_is_lost_and_keeps_the_bytes(log: EventLog) -> None:
    """After repair verify finds nothing, the damaged bytes are beside the log, ids go on."""
    append(log, 50)
    path = log.directory / "00000000000000000001.log"
    damaged = path.read_bytes().replace(b'"n":2}', b'"n":X}')
    path.write_bytes(damaged)
    assert [each.first_id for each in repair(log).damages] == [3]
    found = verify(log)
    assert (found.damages, found.events) == ([], 49)
    assert b'"n":X}' in next(log.directory.glob("*.broken")).read_bytes()
    with pytest.raises(CorruptRecordError):
        log.get(3)
    assert ids(read_all(log, 2)) == [2, *range(4, 51)]
    assert log.append([b'"payload":1'])[0] == 51


def test_a_write_beyond_the_file_size_limit_is_taken_back(log: EventLog) -> None:
    """A short write leaves nothing behind, and the log goes on when there is room again."""
    append(log, 3)
    size = (log.directory / "00000000000000000001.log").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 70, before[1]))
    try:
        with pytest.raises(StorageError, match="nothing was written"):
            log.append([b'"payload":"' + b"x" * 200 + b'"'])
        with pytest.raises(StorageError, match="nothing was written"):
            log.append([b'"payload":1'] * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ids(read_all(log)) == [1, 2, 3]
    append(log, 2)
    assert ids(read_all(log)) == [1, 2, 3, 4, 5]


def test_a_reader_that_saw_a_batch_taken_back_gets_what_came_in_its_place(log: EventLog) -> None:
    """Readers go back to the ids that were given out anew."""
    append(log, 3)
    reader = log.reader(1)
    assert len(reader.read(10)) == 3
    path = log.directory / "00000000000000000001.log"
    size = path.stat().st_size
    other = reopened(log.directory.parent)
    other.append([b'"payload":"a"', b'"payload":"b"'])
    assert [item.last_id for item in reader.read(10)] == [4, 5]
    other.close()
    os.truncate(path, size)  # what a failed write does: take back, seal, go on in a new segment
    with path.open("ab") as file:
        file.write(b"\n")
    log.append([b'"payload":"new"'])
    assert [(item.last_id, item.body) for item in reader.read(10) if isinstance(item, StoredRecord)] == [(4, b'"new"')]
    reader.close()


def test_a_failed_sync_is_never_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one failure the writer refuses until the log is reopened."""
    root.mkdir()
    log = EventLog(root, durability="fsync")
    append(log, 1)
    real_fsync = os.fsync

    def failing_once(fd: int) -> None:
        monkeypatch.setattr(os, "fsync", real_fsync)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing_once)
    for _ in range(2):
        with pytest.raises(StorageError, match="reopen the queue"):
            append(log, 1)
    log.close()
    log = EventLog(root, durability="fsync")
    assert log.append([b'"payload":1'])[0] in (2, 3)
    log.close()


def test_a_clock_that_steps_back_an_hour_starts_a_new_segment(root: Path) -> None:
    """Times never go back inside a segment; a search by time finds both sides of the step."""
    root.mkdir()
    now = [10_000_000_000]
    log = EventLog(root, durability="os", clock=lambda: now[0])
    for _ in range(5):
        now[0] += 1_000_000
        append(log, 1)
    now[0] -= 3_600_000_000
    append(log, 2)
    now[0] -= 500_000
    append(log, 1)
    times = [item.at for item in read_all(log) if isinstance(item, StoredRecord)]
    assert len(log.summaries()) == 2
    assert times[:5] == sorted(times[:5])
    assert times[5] == times[6] == times[7]
    assert list(log.time_ranges(1, times[5], times[5])) == [(6, 8)]
    assert list(log.time_ranges(1, times[1], times[3])) == [(2, 4)]
    log.close()


def test_retention_drops_whole_segments_and_says_so(root: Path) -> None:
    """Dropped ids raise EventExpiredError; the rest stays; nothing goes in a dry run."""
    root.mkdir()
    log = EventLog(root, durability="os", segment_bytes=1024, retention=Retention(max_events=30))
    append(log, 29)
    assert log.oldest() == 1
    append(log, 71)
    oldest = log.oldest()
    assert 71 <= oldest <= 91
    with pytest.raises(EventExpiredError, match=f"oldest kept is {oldest}"):
        log.get(1)
    assert ids(read_all(log, oldest)) == list(range(oldest, 101))
    assert log.drop_expired(dry_run=True) == []
    log.close()


def test_retention_by_age_and_size(root: Path) -> None:
    """Age counts from a segment's last event; size counts the whole log."""
    root.mkdir()
    now = [10_000_000_000]
    log = EventLog(
        root, durability="os", segment_bytes=1024, clock=lambda: now[0], retention=Retention(max_age=timedelta(hours=1))
    )
    append(log, 40)
    assert log.oldest() == 1
    now[0] += 2 * 3_600_000_000
    assert log.drop_expired(dry_run=True)
    assert log.oldest() == 1
    log.drop_expired()
    assert log.oldest() > 1
    log.close()


def test_reading_goes_on_through_rotation_by_another_process(log: EventLog) -> None:
    """A reader follows into segments that another log object makes."""
    other = reopened(log.directory.parent)
    reader = log.reader(1)
    seen = []
    for _ in range(60):
        append(other, 1)
        seen += [item.last_id for item in reader.read(10)]
    assert seen == list(range(1, 61))
    reader.close()
    other.close()


@pytest.mark.parametrize("seal", [b"", b"\n"])
def test_death_between_the_steps_of_a_rotation_loses_nothing(root: Path, seal: bytes) -> None:
    """Sealed without a successor, or a successor that is empty: both are taken up."""
    root.mkdir()
    log = EventLog(root, durability="os")
    append(log, 3)
    log.close()
    path = root / "events" / "00000000000000000001.log"
    path.write_bytes(path.read_bytes() + b"\n")
    if not seal:
        (root / "events" / "00000000000000000004.log").touch(0o600)
    log = EventLog(root, durability="os")
    assert log.tail() == 3
    append(log, 2)
    assert ids(read_all(log)) == [1, 2, 3, 4, 5]
    assert verify(log).damages == []
    log.close()


def test_files_are_private_whatever_the_umask(root: Path) -> None:
    """Directories are 0700 and files 0600."""
    root.mkdir(0o700)
    for umask in (0, 0o277):
        before = os.umask(umask)
        try:
            log = EventLog(root, durability="os", segment_bytes=1024)
            append(log, 30)
            log.close()
        finally:
            os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in root.rglob("*") if path.is_file()} == {"0o600"}
    assert oct((root / "events").stat().st_mode & 0o777) == "0o700"


def test_a_symbolic_link_or_fifo_where_a_segment_belongs_is_refused(root: Path) -> None:
    """Only regular files are opened, and nothing hangs."""
    root.mkdir()
    (root / "events").mkdir()
    path = root / "events" / "00000000000000000001.log"
    path.symlink_to("/etc/hostname")
    log = EventLog(root, durability="os")
    with pytest.raises(StorageError, match="symbolic link"):
        append(log, 1)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StorageError, match="not a regular file"):
        append(log, 1)
    log.close()


def test_a_seal_in_the_place_of_a_torn_byte_is_noticed(log: EventLog) -> None:
    """The file is as long as before, and yet the log goes on elsewhere."""
    append(log, 1)
    (segment,) = log.directory.glob("*.log")
    with segment.open("ab") as file:
        file.write(b"0")
    assert log.tail() == 1
    with log.exclusive():
        pass
    append(log, 1)
    assert log.tail() == 2


def test_dropping_everything_keeps_ids_growing(log: EventLog) -> None:
    """After drop_all the log is empty and the next id is one more than the last."""
    append(log, 40)
    log.drop_all()
    assert (log.tail(), log.oldest(), read_all(log, 41)) == (40, 41, [])
    append(log, 1)
    assert ids(read_all(log, 41)) == [41]


def test_signals_are_not_needed_for_a_file_size_limit() -> None:
    """SIGXFSZ is ignored by Python, so a limit shows as an error and not as a death."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
