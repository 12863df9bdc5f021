"""Helpers for users' tests: queues that are delivered by hand, and what handlers raise."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import (
    EventQueue,
    FileEventQueue,
    InvalidArgumentError,
    InvalidPayloadError,
    NonceSubscriber,
    QueueClosedError,
    QueueEvent,
    RedisFileEventQueue,
    RetryEvent,
    SkipEvent,
    Subscriber,
)
from eventy_sync.testing import deliver_all, isolated, temporary_queue

Queue = FileEventQueue[Any]
Event = QueueEvent[Any]
Seen = list[tuple[str, int]]


@dataclass
class Order:
    id: int


@dataclass
class Counts(Subscriber[Any]):
    def on_event(self, event: Event, event_queue: EventQueue[Any]) -> str:
        return f"{event_queue.count_claims()} claims"


@pytest.fixture
def queue() -> Iterator[Queue]:
    with temporary_queue() as queue:
        yield queue


@pytest.fixture
def seen(queue: Queue) -> Seen:
    """What two broadcast subscribers and a group see, in the order in which they do."""
    seen: Seen = []
    queue.subscribe(lambda event: seen.append(("first", event.id)))
    queue.subscribe(lambda event: seen.append(("group", event.id)), group="billing", concurrency=4)
    queue.subscribe(lambda event: seen.append(("last", event.id)))
    return seen


# -- a temporary queue ---------------------------------------------------------------------------------------


def test_a_temporary_queue_is_real_and_gone_afterwards() -> None:
    """Events are files in its directory, which goes with the block."""
    with temporary_queue(payload_type=Order, name="orders") as queue:
        root = Path(queue.root_dir)
        queue.publish(Order(7))
        assert list((root / "events").iterdir())
        assert (type(queue), queue.name, queue.get_event(1).payload) == (FileEventQueue, "orders", Order(7))
        with pytest.raises(InvalidPayloadError):
            queue.publish("no order")  # type: ignore[arg-type]
    assert not root.parent.exists()
    with pytest.raises(QueueClosedError):
        queue.publish(Order(8))


def test_a_temporary_queue_is_gone_after_an_error() -> None:
    """Whatever the block raises comes out of it."""
    queue = temporary_queue()
    with pytest.raises(ZeroDivisionError), queue as opened:
        raise ZeroDivisionError(opened.root_dir)
    assert not Path(opened.root_dir).exists()


def test_a_temporary_queue_starts_no_thread() -> None:
    """Not with subscribers, groups and events, either."""
    before = threading.active_count()
    with temporary_queue() as queue:
        queue.subscribe(print)
        queue.subscribe(print, group="billing", concurrency=4)
        queue.publish(1)
        assert threading.active_count() == before


def test_a_temporary_queue_may_be_opened_again() -> None:
    """Events outlast a close, as those of every queue do."""
    with temporary_queue() as queue:
        queue.publish(1)
        queue.close()
        with queue:
            assert queue.count_events() == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"root_dir": "orders"}, "leave root_dir out"),
        ({"payload": Order}, "no field 'payload'; it has .*payload_type"),
        ({"durability": "always"}, "durability is"),
    ],
)
def test_wrong_fields_are_refused_at_the_call(fields: dict[str, Any], reason: str) -> None:
    """Before the block begins, and saying what is possible."""
    with pytest.raises(InvalidArgumentError, match=reason):
        temporary_queue(**fields)


# -- an application's own queue ------------------------------------------------------------------------------


def test_an_isolated_queue_is_the_applications_own(root: Path) -> None:
    """Its declared subscribers run, its directory is not made, and all is as before afterwards."""
    queue, handled = FileEventQueue[Any](root), []

    @queue.subscriber
    def handle(event: Event) -> None:
        handled.append((event.payload, threading.current_thread()))

    with isolated(queue) as same:
        assert same is queue
        queue.publish("a")
        assert deliver_all(queue) == 1
    assert handled == [("a", threading.current_thread())]
    assert (queue.root_dir, root.exists()) == (root, False)
    with queue:
        queue.publish("b")
        assert queue.wait_until_idle(20)
    assert handled[1][0] == "b"
    assert handled[1][1] is not threading.current_thread()


def test_an_open_queue_is_not_isolated(root: Path) -> None:
    """Its events would go to two places."""
    with (
        FileEventQueue[Any](root) as queue,
        pytest.raises(InvalidArgumentError, match="before it is opened"),
        isolated(queue),
    ):
        pass


def test_only_a_file_queue_is_isolated(root: Path) -> None:
    """One with Redis would tell other hosts."""
    with pytest.raises(InvalidArgumentError, match="not RedisFileEventQueue"), isolated(RedisFileEventQueue(root)):  # type: ignore[type-var]
        pass


# -- delivering ----------------------------------------------------------------------------------------------


def test_subscribers_run_in_order_in_the_callers_thread(queue: Queue, seen: Seen) -> None:
    """For each event in the order of their subscribing, and only when asked to."""
    threads: set[threading.Thread] = set()
    queue.subscribe(lambda event: threads.add(threading.current_thread()))
    queue.publish_many([1, 2])
    assert seen == []
    assert deliver_all(queue) == 8
    assert seen == [(who, event_id) for event_id in (1, 2) for who in ("first", "group", "last")]
    assert threads == {threading.current_thread()}
    assert deliver_all(queue) == 0


def test_what_handlers_publish_is_delivered_too(queue: Queue, seen: Seen) -> None:
    """Until nothing is left."""
    queue.subscribe(lambda event: event.id < 3 and queue.publish(event.id + 1))
    queue.publish(1)
    assert deliver_all(queue) == 12
    assert seen[-1] == ("last", 3)


def test_a_subscriber_is_called_with_its_queue(queue: Queue) -> None:
    """A wrapped one, too, whose claim is kept."""
    queue.subscribe(NonceSubscriber(Counts()))
    queue.publish(1)
    deliver_all(queue)
    assert [each.details for each in queue.search_results().items] == ["1 claims"]
    assert queue.count_claims() == 1


def test_a_stored_subscriber_runs_after_opening_again() -> None:
    """From the present of that opening, as in a worker."""
    with temporary_queue() as queue:
        queue.subscribe(Counts())
        queue.close()
        queue.open()
        queue.publish(1)
        assert deliver_all(queue) == 1


def test_a_failure_is_the_handlers_own_error(queue: Queue, seen: Seen) -> None:
    """The very object, with the traceback into the handler; its result is stored, and the next call goes on."""
    error = ValueError("no such order")

    def fail(event: Event) -> None:
        if event.id == 1:
            raise error

    queue.subscribe(fail)
    queue.publish_many([1, 2])
    with pytest.raises(ValueError, match="no such order") as caught:
        deliver_all(queue)
    assert caught.value is error
    assert traceback.extract_tb(error.__traceback__)[-1].name == "fail"
    assert error.__cause__ is None
    assert [each.event_id for each in queue.search_results().items if not each.success] == [1]
    assert ("last", 2) not in seen
    assert deliver_all(queue) == 4


def test_a_groups_event_is_tried_again_by_the_next_call(queue: Queue) -> None:
    """Without waiting for the backoff, until it is a dead letter."""
    attempts: list[int] = []

    def fail(event: Event) -> None:
        attempts.append(event.id)
        raise ValueError("again")

    queue.subscribe(fail, group="billing", max_attempts=2, backoff=3600)
    queue.publish(1)
    for dead in (0, 1):
        with pytest.raises(ValueError, match="again"):
            deliver_all(queue)
        assert len(queue.dead_letters("billing").items) == dead
    assert deliver_all(queue) == 0
    assert attempts == [1, 1]
    queue.requeue("billing")
    with pytest.raises(ValueError, match="again"):
        deliver_all(queue)


def test_failures_may_be_results_only(queue: Queue, seen: Seen) -> None:
    """Everything is delivered then, all attempts included."""

    def fail(event: Event) -> None:
        raise ValueError

    queue.subscribe(fail)
    queue.subscribe(fail, group="failing", max_attempts=3, backoff=3600)
    queue.publish(1)
    assert deliver_all(queue, raise_errors=False) == 7
    assert [each.attempts for each in queue.dead_letters("failing").items] == [3]
    assert sum(not each.success for each in queue.search_results().items) == 4


@pytest.mark.parametrize("group", [None, "billing"])
def test_steering_signals_are_no_failures(queue: Queue, group: str | None) -> None:
    """A retry is at once however long it is to wait, a skip leaves nothing."""
    signals: list[Exception] = [RetryEvent(3600), RetryEvent(3600), SkipEvent()]

    def steer(event: Event) -> None:
        if signals:
            raise signals.pop(0)

    queue.subscribe(steer, group=group)
    queue.publish_many([1, 2])
    assert deliver_all(queue) == 4
    assert [each.event_id for each in queue.search_results().items] == [2]


@pytest.mark.parametrize("group", [None, "billing"])
@pytest.mark.parametrize("raise_errors", [True, False])
def test_what_ends_a_test_is_raised_in_any_case(queue: Queue, group: str | None, raise_errors: bool) -> None:
    """`pytest.fail` and Ctrl-C are not taken for a handler's failure that may be passed over."""

    def end(event: Event) -> None:
        if event.id == 1:
            pytest.fail("told so")

    queue.subscribe(end, group=group, max_attempts=1) if group else queue.subscribe(end)
    queue.publish_many([1, 2])
    with pytest.raises(pytest.fail.Exception, match="told so"):
        deliver_all(queue, raise_errors=raise_errors)
    assert deliver_all(queue) == 1


@pytest.mark.parametrize("group", [None, "billing"])
def test_delivery_without_end_is_an_error(queue: Queue, group: str | None) -> None:
    """A test that would hang says why it does not end."""
    queue.subscribe(lambda event: queue.publish(event.id), group=group)
    queue.publish(0)
    with pytest.raises(RuntimeError, match="ran 20 times"):
        deliver_all(queue, max_runs=20)


def test_waiting_delivers_where_nobody_else_does(queue: Queue, seen: Seen) -> None:
    """Code under test that waits is served, with failures as results."""

    def fail(event: Event) -> None:
        raise ValueError

    queue.subscribe(fail)
    queue.publish(1)
    assert queue.wait_for_result(1, timeout=0).success
    queue.publish(2)
    assert queue.wait_until_idle(0)
    assert seen[-1] == ("last", 2)


@pytest.mark.parametrize("wait", [deliver_all, FileEventQueue.wait_until_idle, lambda queue: queue.wait_for_result(1)])
def test_a_handler_cannot_wait_for_others(queue: Queue, wait: Any) -> None:
    """They would run in the thread that waits."""
    queue.subscribe(lambda event: wait(queue))
    queue.publish(1)
    with pytest.raises(InvalidArgumentError, match="wait outside of handlers"):
        deliver_all(queue)


@pytest.mark.parametrize("group", [None, "billing"])
def test_a_handler_may_close_the_queue(queue: Queue, group: str | None) -> None:
    """Delivery ends with it; what it did is kept."""
    queue.subscribe(lambda event: queue.close(), group=group)
    queue.publish_many([1, 2])
    assert deliver_all(queue) == 1
    with pytest.raises(QueueClosedError):
        deliver_all(queue)
    with queue:
        assert [each.event_id for each in queue.search_results().items] == [1]


@pytest.mark.parametrize("group", [None, "billing"])
def test_a_handler_may_unsubscribe_itself(queue: Queue, group: str | None) -> None:
    """It is not called again."""
    subscription = queue.subscribe(lambda event: queue.unsubscribe(subscription.id), group=group)
    queue.publish_many([1, 2])
    assert deliver_all(queue) == 1


def test_threads_deliver_one_after_the_other(queue: Queue, seen: Seen) -> None:
    """Each event once to each subscriber, in order."""
    queue.publish_many(range(20))
    threads = [threading.Thread(target=deliver_all, args=(queue,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(who, event_id) for event_id in range(1, 21) for who in ("first", "group", "last")]


# -- bad use -------------------------------------------------------------------------------------------------


def test_a_queue_with_threads_is_not_delivered_by_hand(root: Path) -> None:
    """Its handlers' errors are gone already."""
    with (
        FileEventQueue[Any](root) as queue,
        pytest.raises(InvalidArgumentError, match=r"wait_until_idle\(\), or open it by `with isolated"),
    ):
        deliver_all(queue)


def test_what_is_no_queue_is_not_delivered() -> None:
    """As when `with` was forgotten."""
    with pytest.raises(InvalidArgumentError, match="not _GeneratorContextManager: `with temporary_queue"):
        deliver_all(temporary_queue())  # type: ignore[arg-type]


@pytest.mark.parametrize("max_runs", [0, -1, True, 1.5, None])
def test_max_runs_is_a_count(queue: Queue, max_runs: Any) -> None:
    """Refused before anything runs."""
    with pytest.raises(InvalidArgumentError, match="max_runs is a whole number from 1 on"):
        deliver_all(queue, max_runs=max_runs)
