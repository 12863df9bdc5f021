"""The watcher wakes whoever waits for more, survives a log it cannot read, and ends when told."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventy_sync import QueueClosedError, StorageError
from eventy_sync.delivery import log_watcher
from eventy_sync.delivery.log_watcher import LogWatcher


class Log:
    """A tail that the test sets."""

    def __init__(self) -> None:
        self.last_id = 0
        self.looks = 0
        self.is_broken = False

    def tail(self) -> int:
        self.looks += 1
        if self.is_broken:
            raise StorageError("gone")
        return self.last_id


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def watcher(log: Log) -> Iterator[LogWatcher]:
    watcher = LogWatcher("watcher", log.tail, lambda: None, lambda: None)
    yield watcher
    watcher.stop()
    watcher.join()


def test_waiting_ends_when_the_log_has_grown(watcher: LogWatcher, log: Log) -> None:
    """With a hint or without one."""
    assert not watcher.wait_beyond(0, 0.0)
    for hint in (watcher.wake, lambda: None):
        log.last_id += 1
        hint()
        assert watcher.wait_beyond(log.last_id - 1, 20.0)
    assert watcher.wait_beyond(0, 0.0)


def test_waiting_ends_at_its_time(watcher: LogWatcher) -> None:
    """And says that nothing came."""
    assert not watcher.wait_beyond(5, 0.01)


def test_waiting_ends_when_something_else_is_asked_for(watcher: LogWatcher) -> None:
    """Whoever changes that something wakes the waiters."""
    stopping = threading.Event()
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(watcher.wait_beyond(0, 20.0, stopping.is_set)))
    waiter.start()
    stopping.set()
    watcher.wake_waiters()
    waiter.join(20)
    assert answers == [False]


def test_stopping_wakes_everybody(watcher: LogWatcher) -> None:
    """For good: later waits return at once."""
    waiters = [threading.Thread(target=watcher.wait_beyond, args=(0, None)) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    watcher.stop()
    for waiter in waiters:
        waiter.join(20)
        assert not waiter.is_alive()
    assert not watcher.wait_beyond(0, None)


def test_a_log_that_cannot_be_read_is_said_once_and_tried_again(
    watcher: LogWatcher, log: Log, wait_until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """And when it can be read again, delivery goes on."""
    watcher.start()
    log.is_broken = True
    watcher.wake()
    wait_until(lambda: "cannot be watched" in caplog.text)
    looks = log.looks
    watcher.wake()
    wait_until(lambda: log.looks > looks)
    log.is_broken = False
    log.last_id = 1
    watcher.wake()
    assert watcher.wait_beyond(0, 20.0)
    assert caplog.text.count("cannot be watched") == 1


def test_a_quiet_log_is_looked_at_seldom(watcher: LogWatcher, log: Log) -> None:
    """Far less often than a busy one."""
    watcher.start()
    pause = threading.Event()
    pause.wait(0.5)
    before = log.looks
    pause.wait(0.5)
    assert log.looks - before < 60


def test_a_tick_that_finds_the_queue_closed_ends_without_a_word(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """The last handler's end closes the queue, and a tick may be under way then."""
    ticked = threading.Event()

    def tick() -> None:
        watcher.stop()
        ticked.set()
        raise QueueClosedError("the queue is closed")

    watcher = LogWatcher("watcher", log.tail, tick, lambda: None)
    watcher.start()
    assert ticked.wait(20.0)
    watcher.join()
    assert caplog.text == ""


# -- where the kernel tells ----------------------------------------------------------------------------------

told = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


class Written(Log):
    """A tail that grows with a file, as others write it."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def grow(self) -> None:
        """Append an event."""
        self.last_id += 1
        with (self.directory / "1.log").open("ab") as file:
            file.write(b"x")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.fixture
def listener(written: Written, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogWatcher]:
    """A watcher that would not look by itself for minutes, as long as the kernel tells."""
    monkeypatch.setattr(log_watcher, "TOLD_SECONDS", 300.0)
    watcher = LogWatcher("watcher", written.tail, lambda: None, lambda: None, directory=written.directory)
    yield watcher
    watcher.stop()
    watcher.join()


@told
def test_all_who_wait_hear_of_what_another_process_writes(
    listener: LogWatcher, written: Written, wait_until: Callable[..., None]
) -> None:
    """As often as it does, whoever of them is the scout; also of what came while nobody waited."""
    seen = [0] * 4
    listener.start()

    def follow(number: int) -> None:
        while listener.wait_beyond(seen[number], 20):
            seen[number] = written.last_id

    followers = [threading.Thread(target=follow, args=(number,)) for number in range(4)]
    for follower in followers:
        follower.start()
    for event_id in range(1, 101):
        written.grow()
        wait_until(lambda event_id=event_id: seen == [event_id] * 4)
    listener.stop()
    for follower in followers:
        follower.join(20)
    written.grow()


@told
def test_a_scout_that_is_alone_leaves_looking_to_who_reads_next(
    listener: LogWatcher, written: Written, wait_until: Callable[..., None]
) -> None:
    """Which saves a look for each event; whoever waits afterwards does not miss what was seen by nobody."""
    (written.directory / "1.log").touch()  # making it would be told of, too
    listener.start()
    looks = 2  # at the start, and by the watcher's thread
    wait_until(lambda: written.looks == looks)
    waits: list[bool] = []
    for _ in range(3):
        scout = threading.Thread(target=lambda: waits.append(listener.wait_beyond(written.last_id, 20)))
        scout.start()
        wait_until(lambda: listener._has_scout)
        written.grow()
        scout.join(20)
        assert written.looks == looks
        assert listener.wait_beyond(written.last_id - 1, 20)  # another one, who waits for the same event
        assert written.looks == looks + 1
        looks += 1
    assert waits == [True] * 3


@told
def test_the_kernel_is_believed_while_scouts_hear_of_it(
    written: Written, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """Though the watcher's own thread may be the first to look at what they heard of."""
    monkeypatch.setattr(log_watcher, "TOLD_SECONDS", 0.0001)
    watcher = LogWatcher("watcher", written.tail, lambda: None, lambda: None, directory=written.directory)
    for event_id in range(log_watcher.MOST_MISSED * 3):
        written.grow()
        assert watcher.wait_beyond(event_id, 20)
    assert watcher.is_told
    watcher.stop()
    watcher.join()


@told
def test_a_scout_that_leaves_is_followed_by_another(
    listener: LogWatcher, written: Written, wait_until: Callable[..., None]
) -> None:
    """Because its own time is over, or it waited for something else."""
    heard: list[bool] = []
    scout = threading.Thread(target=listener.wait_beyond, args=(0, 0.2))
    scout.start()
    wait_until(lambda: listener._has_scout)
    follower = threading.Thread(target=lambda: heard.append(listener.wait_beyond(0, 60)))
    follower.start()
    scout.join(20)
    assert not heard
    wait_until(lambda: listener._has_scout)
    written.grow()
    follower.join(20)
    assert heard == [True]


@told
def test_a_scout_ends_its_wait_when_something_else_is_asked_for(
    listener: LogWatcher, wait_until: Callable[..., None]
) -> None:
    """As at the end of a subscriber."""
    stopping = threading.Event()
    scout = threading.Thread(target=listener.wait_beyond, args=(0, None, stopping.is_set))
    scout.start()
    wait_until(lambda: listener._has_scout)
    stopping.set()
    listener.wake_waiters()
    scout.join(20)
    assert not scout.is_alive()


@told
def test_a_kernel_that_tells_nothing_is_not_relied_upon(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files are written behind its back the watcher finds out, and looks by itself as before."""
    monkeypatch.setattr(log_watcher, "TOLD_SECONDS", 0.01)
    watcher = LogWatcher("watcher", log.tail, lambda: None, lambda: None, directory=tmp_path)
    for event_id in range(log_watcher.MOST_MISSED + 2):
        log.last_id += 1
        assert watcher.wait_beyond(event_id, 20)
    assert not watcher.is_told
    watcher.stop()
    watcher.join()


def test_without_the_kernels_help_the_log_is_looked_at(
    log: Log, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has to know."""
    watcher = LogWatcher("watcher", log.tail, lambda: None, lambda: None, directory=tmp_path / "nowhere")
    log.last_id = 1
    assert watcher.wait_beyond(0, 20)
    assert not watcher.is_told
    assert caplog.text == ""
    watcher.stop()
    watcher.join()


@told
def test_the_end_gives_back_what_the_kernel_gave(written: Written) -> None:
    """Whether a scout was there or not."""
    before = len(os.listdir("/proc/self/fd"))
    for is_scouted in (False, True) * 10:
        watcher = LogWatcher("watcher", written.tail, lambda: None, lambda: None, directory=written.directory)
        watcher.start()
        waiter = threading.Thread(target=watcher.wait_beyond, args=(written.last_id, None))
        if is_scouted:
            waiter.start()
        watcher.stop()
        watcher.join()
        if is_scouted:
            waiter.join(20)
    assert len(os.listdir("/proc/self/fd")) == before


@told
@pytest.mark.parametrize("is_scouted", [False, True])
def test_the_end_leaves_nothing_to_a_destructor_that_takes_time(
    written: Written, wait_until: Callable[..., None], is_scouted: bool
) -> None:
    """A Ctrl-C that came in it would be swallowed."""
    watcher = LogWatcher("watcher", written.tail, lambda: None, lambda: None, directory=written.directory)
    before = len(os.listdir("/proc/self/fd"))
    watcher.start()
    late = watcher._growth[0].give
    waiter = threading.Thread(target=watcher.wait_beyond, args=(0, None))
    if is_scouted:
        waiter.start()
        wait_until(lambda: watcher._has_scout)
    watcher.stop()
    if is_scouted:
        waiter.join(20)
    late()
    assert len(os.listdir("/proc/self/fd")) == before + 1  # which costs nothing to close
    watcher.join()
