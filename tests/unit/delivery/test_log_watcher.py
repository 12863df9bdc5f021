"""The watcher wakes whoever waits for more, survives a log it cannot read, and ends when told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from eventy_sync import QueueClosedError, StorageError
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
