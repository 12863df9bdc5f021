"""Delivery through a queue: handlers of all kinds, at their worst moments."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventy_sync import EventExpiredError, FileEventQueue, QueueEvent, Retention, RetryEvent, StorageError
from eventy_sync.delivery.log_watcher import LogWatcher

Queue = FileEventQueue[Any]
Event = QueueEvent[Any]


@pytest.fixture
def queue(root: Path) -> Iterator[Queue]:
    with FileEventQueue[Any](root) as queue:
        yield queue


@pytest.mark.parametrize("error", [SystemExit(3), ValueError("x"), RecursionError(), MemoryError()])
def test_a_handler_that_raises_anything_does_not_end_delivery(queue: Queue, error: BaseException) -> None:
    """It is a failed result, and the next event comes."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        if event.id == 1:
            raise error

    queue.subscribe(handle)
    queue.publish_many([1, 2])
    assert queue.wait_until_idle(20)
    assert seen == [1, 2]
    first, second = queue.search_results().items
    assert (first.success, second.success) == (False, True)
    assert type(error).__name__ in (first.details or "")


def test_a_retry_keeps_its_place(queue: Queue) -> None:
    """Later events wait for it, and its result counts the attempts."""
    seen: list[int] = []

    def handle(event: Event) -> str:
        seen.append(event.id)
        if seen.count(1) < 3:
            raise RetryEvent(delay_seconds=0.01)
        return "at last"

    queue.subscribe(handle)
    queue.publish_many([1, 2])
    assert queue.wait_until_idle(20)
    assert seen == [1, 1, 1, 2]
    assert [(each.attempt, each.details) for each in queue.search_results().items] == [(3, "at last"), (1, "at last")]


def test_closing_does_not_wait_for_a_retry(queue: Queue, wait_until: Callable[..., None]) -> None:
    """However far away it is."""
    started = threading.Event()

    def handle(event: Event) -> None:
        started.set()
        raise RetryEvent(delay_seconds=3600)

    queue.subscribe(handle)
    queue.publish(1)
    assert started.wait(20)
    queue.close(timeout=20)


def test_a_handler_may_unsubscribe_itself(queue: Queue) -> None:
    """It sees no event after that."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        assert queue.unsubscribe(subscription.id)
        assert not queue.unsubscribe(subscription.id)

    subscription = queue.subscribe(handle)
    queue.publish_many([1, 2, 3])
    assert queue.wait_until_idle(20)
    while queue.count_results() < 1:
        assert queue.wait_for_result(1, 20)
    assert seen == [1]


def test_a_handler_may_subscribe_and_unsubscribe_others(queue: Queue) -> None:
    """The new one starts behind the present, the old one sees nothing more."""
    seen: dict[str, list[int]] = {"old": [], "new": []}
    changed = threading.Event()

    def change(event: Event) -> None:
        if not changed.is_set():
            queue.unsubscribe(old.id)
            queue.subscribe(lambda event: seen["new"].append(event.id))
            changed.set()

    old = queue.subscribe(lambda event: seen["old"].append(event.id))
    queue.subscribe(change)
    queue.publish(1)
    assert changed.wait(20)
    queue.publish(2)
    assert queue.wait_until_idle(20)
    assert seen["old"] in ([], [1])
    assert seen["new"] == [2]


def test_a_slow_subscriber_does_not_hold_up_a_fast_one(queue: Queue) -> None:
    """Each has its own thread and its own place."""
    release, fast_done = threading.Event(), threading.Event()
    seen: list[int] = []

    def fast(event: Event) -> None:
        seen.append(event.id)
        if event.id == 50:
            fast_done.set()

    queue.subscribe(lambda event: release.wait(20))
    queue.subscribe(fast)
    queue.publish_many(range(50))
    assert fast_done.wait(20)
    assert not queue.wait_until_idle(0.01)
    release.set()
    assert queue.wait_until_idle(20)
    assert seen == list(range(1, 51))


def test_many_subscribers_see_thousands_of_events_in_order(queue: Queue) -> None:
    """While they are being published."""
    seen: list[list[int]] = [[] for _ in range(5)]
    for each in seen:
        queue.subscribe(lambda event, each=each: each.append(event.id))
    for _ in range(40):
        queue.publish_many(range(100))
    assert queue.wait_until_idle(60)
    assert seen == [list(range(1, 4001))] * 5
    assert queue.count_results() == 20_000


def test_closing_with_no_time_leaves_the_handler_to_end(
    root: Path, wait_until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the files are closed when the handler has ended."""
    started, release, ended = threading.Event(), threading.Event(), threading.Event()

    def handle(event: Event) -> None:
        started.set()
        release.wait(20)
        ended.set()

    queue = FileEventQueue[Any](root)
    queue.open()
    queue.subscribe(handle)
    queue.publish(1)
    assert started.wait(20)
    queue.close(timeout=0)
    assert "handlers still running" in caplog.text
    release.set()
    assert ended.wait(20)
    wait_until(lambda: not [thread for thread in threading.enumerate() if "delivery" in thread.name])


@pytest.mark.parametrize("group", [None, "billing"])
def test_the_last_thread_may_end_before_the_watcher_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, group: str | None
) -> None:
    """It closes the files then, and the watcher looks at the log once more: without a word, and opening nothing."""
    queue = FileEventQueue[Any](root)
    stop = LogWatcher.stop

    def stop_late(watcher: LogWatcher) -> None:
        if threading.current_thread() is threading.main_thread():
            for thread in threading.enumerate():
                if thread.name.startswith("eventy-") and "watcher" not in thread.name:
                    thread.join(20)
            watcher._look_quietly()
            watcher._hint.give()
            time.sleep(0.05)
        stop(watcher)

    with queue:
        queue.subscribe(lambda event: None, group=group)
        queue.publish(1)
        assert queue.wait_until_idle(20)
        monkeypatch.setattr(LogWatcher, "stop", stop_late)
    assert caplog.text == ""


def test_idle_with_nothing_subscribed(queue: Queue) -> None:
    """There is nothing to wait for."""
    queue.publish(1)
    assert queue.wait_until_idle(0)
    assert queue.wait_until_idle()


@dataclass
class Order:
    id: int


def test_a_payload_of_another_type_is_a_failed_result(root: Path) -> None:
    """Delivery goes on behind it."""
    with FileEventQueue[Any](root) as untyped:
        untyped.publish_many([{"id": 1}, {"id": "x"}, {"id": 3}])
    with FileEventQueue[Order](root, payload_type=Order) as queue:
        seen: list[Order] = []
        queue.subscribe(lambda event: seen.append(event.payload), from_index=1)
        assert queue.wait_until_idle(20)
        assert seen == [Order(1), Order(3)]
        (failed,) = [each for each in queue.search_results().items if not each.success]
        assert (failed.event_id, "stored payload is no Order" in (failed.details or "")) == (2, True)


def test_a_start_beyond_the_tail_waits_for_it(queue: Queue) -> None:
    """Events before it are not delivered."""
    seen: list[int] = []
    queue.subscribe(lambda event: seen.append(event.id), from_index=3)
    for number in range(4):
        queue.publish(number)
    assert queue.wait_until_idle(20)
    assert seen == [3, 4]


def test_a_start_that_retention_dropped_is_refused(root: Path) -> None:
    """Never silently moved."""
    with FileEventQueue[Any](root, segment_bytes=1024, retention=Retention(max_events=20)) as queue:
        for number in range(100):
            queue.publish({"text": "x" * 100, "n": number})
        with pytest.raises(EventExpiredError, match="cannot start at event 1: retention has dropped it"):
            queue.subscribe(print, from_index=1)
        assert queue.count_subscriptions() == 0


def test_results_survive_a_store_that_refuses_for_a_while(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    """Handlers run on; the results come when it takes them."""
    results = queue._opened().store.results
    refusing = threading.Event()
    refusing.set()
    keep = results.add_many

    def add_many(some: Any) -> None:
        if refusing.is_set():
            raise StorageError("the disk is full")
        keep(some)

    monkeypatch.setattr(results, "add_many", add_many)
    seen: list[int] = []
    queue.subscribe(lambda event: seen.append(event.id))
    queue.publish_many(range(10))
    wait_until(lambda: len(seen) == 10 and "results not stored" in caplog.text)
    assert not queue.wait_until_idle(0.01)
    refusing.clear()
    assert queue.wait_until_idle(20)
    assert [each.event_id for each in queue.search_results().items] == list(range(1, 11))


def test_opening_and_closing_many_times_leaks_nothing(root: Path) -> None:
    """The leak watch of all tests looks behind it; ids go on."""
    queue = FileEventQueue[Any](root)
    for number in range(50):
        with queue:
            queue.subscribe(lambda event: None)
            assert queue.publish(number).id == number + 1


def test_logs_never_hold_payloads(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """Not even at DEBUG, when a handler fails on one."""
    caplog.set_level(logging.DEBUG)
    queue.subscribe(lambda event: event.payload["missing"])
    queue.publish({"password": "hunter2"})
    assert queue.wait_until_idle(20)
    assert "handler failed" in caplog.text
    assert "hunter2" not in caplog.text


def test_waiting_for_a_result_that_never_comes_ends(queue: Queue) -> None:
    """With an error that asks the likely question."""
    queue.publish(1)
    with pytest.raises(KeyError, match="is a worker running"):
        queue.wait_for_result(1, timeout=0.02)
    assert queue.batch_get_results([UUID(int=1)]) == [None]
