"""Group commit: many threads, one writer at a time; every batch is written once, and nobody waits for ever."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from eventy_sync.errors import CoordinationError, CorruptRecordError, EventyError, StorageError
from eventy_sync.storage.log import group_commit
from eventy_sync.storage.log.group_commit import SPARE_HINTS, Batch, GroupCommit
from eventy_sync.waking import Hint, KernelHint

DEADLINE_SECONDS = 20.0
UNKNOWN = "whether it reached the log is unknown"


class Log:
    """Numbers batches as the log's writer does, and can be held up in the middle of a commit."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.commits: list[int] = []  # how many batches each had
        self.is_open = threading.Event()
        self.is_open.set()
        self.has_begun = threading.Semaphore(0)
        self.errors: list[BaseException] = []  # of the next commits
        self._inside = threading.Lock()
        self.group_commit = GroupCommit(self.commit)

    def commit(self, batches: Sequence[Batch]) -> None:
        assert self._inside.acquire(blocking=False), "two threads commit at the same time"
        try:
            self.commits.append(len(batches))
            self.has_begun.release()
            assert self.is_open.wait(DEADLINE_SECONDS)
            if self.errors:
                raise self.errors.pop(0)
            for batch in batches:
                batch.first_id = len(self.written) + 1
                self.written += batch.payload_fields
        finally:
            self._inside.release()

    def hold(self) -> None:
        """Let the next commit wait."""
        self.is_open.clear()

    def wait_for_commit(self) -> None:
        assert self.has_begun.acquire(timeout=DEADLINE_SECONDS)


@pytest.fixture
def log() -> Iterator[Log]:
    """A log that is closed at the end."""
    log = Log()
    yield log
    log.group_commit.close()


class Caller(threading.Thread):
    """Appends one batch, and keeps what came of it."""

    def __init__(self, log: Log, *payload_fields: bytes) -> None:
        super().__init__(daemon=True)
        self.batch, self.error = Batch(payload_fields), None
        self._append: Callable[[Batch], None] = log.group_commit.append
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._append(self.batch)
        except BaseException as exc:
            self.error = exc

    def end(self) -> BaseException | None:
        """Wait for the end, and return the error."""
        self.join(DEADLINE_SECONDS)
        assert not self.is_alive(), "it waits for ever"
        return self.error


def behind_a_leader(log: Log, count: int, wait_until: Callable[..., None]) -> list[Caller]:
    """Return one who leads, held up in its commit, and so many who wait behind it."""
    log.hold()
    leader = Caller(log, b"leader")
    log.wait_for_commit()
    others = [Caller(log, b"%d" % number) for number in range(count)]
    wait_until(lambda: len(log.group_commit._waiting) == count)
    return [leader, *others]


def test_who_is_alone_writes_at_once(log: Log) -> None:
    """In its own thread, without waiting for anybody."""
    for number in range(3):
        batch = Batch([b"a", b"b"])
        log.group_commit.append(batch)
        assert batch.round is not None
        assert (batch.round.over, batch.first_id, batch.error) == (True, 2 * number + 1, None)
    assert log.commits == [1, 1, 1]


def test_who_waits_is_written_together_with_the_others(log: Log, wait_until: Callable[..., None]) -> None:
    """By the first of them, in the order in which they came."""
    callers = behind_a_leader(log, 20, wait_until)
    waiting = [each.payload_fields[0] for each in log.group_commit._waiting]
    log.is_open.set()
    assert [each.end() for each in callers] == [None] * 21
    assert log.commits == [1, 20]
    assert log.written == [b"leader", *waiting]


def test_every_batch_is_written_once(log: Log) -> None:
    """Whoever leads, and however many there are at a time; each learns where its own records are."""
    threads_count, batches_count = 16, 200
    begin = threading.Barrier(threads_count)
    kept: list[Batch] = []

    def append(thread: int) -> None:
        begin.wait(DEADLINE_SECONDS)
        for number in range(batches_count):
            batch = Batch([b"%d.%d.%d" % (thread, number, part) for part in range(1 + number % 3)])
            log.group_commit.append(batch)
            kept.append(batch)

    threads = [threading.Thread(target=append, args=(thread,)) for thread in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(kept) == threads_count * batches_count
    for batch in kept:
        found = log.written[batch.first_id - 1 :][: len(batch.payload_fields)]
        assert found == list(batch.payload_fields)
    assert len(log.written) == sum(len(batch.payload_fields) for batch in kept)
    assert sum(log.commits) == len(kept)
    for thread in range(threads_count):
        own = [each for each in log.written if each.startswith(b"%d." % thread)]
        assert own == sorted(own, key=lambda each: [int(part) for part in each.split(b".")])


@pytest.mark.parametrize(
    "error",
    [
        StorageError("the disk is full"),
        CoordinationError("other roots have this queue"),
        CorruptRecordError("1.log", 5, "bad", 1, 2),
    ],
)
def test_an_error_reaches_every_caller_as_an_error_of_its_own(
    log: Log, error: EventyError, wait_until: Callable[..., None]
) -> None:
    """An exception that is raised in several threads would mix up their tracebacks.  The next batch is not hit."""
    leader, *others = behind_a_leader(log, 5, wait_until)
    log.errors = [ZeroDivisionError(), error]
    log.is_open.set()
    assert isinstance(leader.end(), ZeroDivisionError)
    raised = [each.end() for each in others]
    assert [(type(each), str(each)) for each in raised] == [(type(error), str(error))] * 5
    assert len({id(each) for each in [*raised, error]}) == 6
    assert all(each is not None and each.__cause__ is error for each in raised)
    assert log.written == []
    log.group_commit.append(Batch([b"next"]))
    assert log.written == [b"next"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(1), ZeroDivisionError()])
def test_a_leader_that_is_interrupted_leaves_nobody_waiting(
    log: Log, interrupt: BaseException, wait_until: Callable[..., None]
) -> None:
    """Whom it has led hears that nobody knows; it gets the exception; who came meanwhile is written."""
    leader, *behind = behind_a_leader(log, 4, wait_until)
    late: list[Caller] = []

    def commit_and_interrupt(batches: Sequence[Batch]) -> None:
        if len(batches) == 4:
            late.append(Caller(log, b"late"))
            wait_until(lambda: len(log.group_commit._waiting) == 1)
            log.group_commit._commit = log.commit
            raise interrupt
        log.commit(batches)

    log.group_commit._commit = commit_and_interrupt
    log.is_open.set()
    assert leader.end() is None
    errors = [each.end() for each in behind]
    assert errors.count(interrupt) == 1  # one of those who waited has led them all
    errors.remove(interrupt)
    assert [type(each) for each in errors] == [StorageError] * 3
    assert all(UNKNOWN in str(each) for each in errors)
    assert late[0].end() is None
    assert log.written[-1] == b"late"


def test_who_is_not_woken_looks_by_itself(
    log: Log, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception may come just before anybody is woken, whether its batch is written or it leads next."""
    callers = behind_a_leader(log, 3, wait_until)
    monkeypatch.setattr(Batch, "wake", lambda batch: None)
    log.is_open.set()
    assert [each.end() for each in callers] == [None] * 4
    assert len(log.written) == 4


def test_nobody_has_to_look_by_itself(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is written, or leads next, is woken by somebody: however the threads meet."""
    monkeypatch.setattr(group_commit, "LONGEST_SLEEP_SECONDS", 2 * DEADLINE_SECONDS)

    def append() -> None:
        for _ in range(1000):
            log.group_commit.append(Batch([b"x"]))

    threads = [threading.Thread(target=append, daemon=True) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive(), "nobody has woken it"
    assert len(log.written) == 12_000


def test_without_descriptors_it_goes_on(
    log: Log, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """A system without eventfd, or a process that has too many files open, wakes by locks."""

    def refuse() -> KernelHint:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(group_commit, "KernelHint", refuse)
    callers = behind_a_leader(log, 3, wait_until)
    wait_until(lambda: all(isinstance(each.batch.hint, Hint) for each in callers[1:]))
    log.is_open.set()
    assert [each.end() for each in callers] == [None] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="hints of the kernel are Linux's")
def test_hints_are_used_again(log: Log, wait_until: Callable[..., None]) -> None:
    """As many as slept at a time, though many more came one after the other; but no more than some are kept."""
    for count in (5, 3, 5, SPARE_HINTS + 20):
        callers = behind_a_leader(log, count, wait_until)
        wait_until(lambda callers=callers: all(each.batch.hint is not None for each in callers[1:]))
        log.is_open.set()
        assert [each.end() for each in callers] == [None] * (count + 1)
        assert len(log.group_commit._hints) == min(max(count, 5), SPARE_HINTS)
