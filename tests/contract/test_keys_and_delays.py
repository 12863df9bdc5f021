"""Events that are published once for a key, and events that are handed out later: the same for every queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import CoordinationError, EventExpiredError, FileEventQueue, InvalidArgumentError, QueueEvent

Wait = Callable[..., None]
Queue = FileEventQueue[Any]


@pytest.fixture
def queue(root: Path) -> Iterator[Queue]:
    with FileEventQueue[Any](root) as queue:
        yield queue


def now() -> datetime:
    return datetime.now(timezone.utc)


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_published_once(queue: Queue) -> None:
    """A repeat brings the event as it is stored, whatever payload it has; others are not touched."""
    first = queue.publish({"n": 1}, key="order-7")
    assert (first.id, first.key, first.payload) == (1, "order-7", {"n": 1})
    assert queue.publish({"n": 2}, key="order-7") == first == queue.get_event(1)
    assert [queue.publish({"n": 1}).id, queue.publish({"n": 1}, key="order-8").id] == [2, 3]
    assert queue.publish({"n": 3}, key="order-7") == first
    assert [event.key for event in queue.iter_events()] == ["order-7", None, "order-8"]


@pytest.mark.parametrize("key", ["x" * 500, 'é\U0001f600 "quoted\\" {brace}', "*", "a:b", " "])
def test_any_printable_text_is_a_key(queue: Queue, key: str) -> None:
    """As it is, and no other one is the same."""
    event = queue.publish(1, key=key)
    assert queue.publish(2, key=key) == event
    assert queue.publish(3, key=key[:-1] + "y").id == 2
    assert queue.get_event(1).key == key


def test_a_key_is_free_when_its_window_is_over(queue: Queue, wait_until: Wait) -> None:
    """The window of the event that has it counts, not that of the repeat."""
    event = queue.publish(1, key="a", key_window_seconds=0.3)
    assert queue.publish(2, key="a", key_window_seconds=3600).id == event.id
    wait_until(lambda: queue.publish(3, key="a", key_window_seconds=3600).id == 2)
    assert now() - event.created_at >= timedelta(seconds=0.3)
    assert queue.publish(4, key="a", key_window_seconds=0.001).id == 2


def test_a_key_is_still_taken_after_a_restart(root: Path) -> None:
    """And while another queue object has the same root open."""
    with FileEventQueue[Any](root) as queue:
        first = queue.publish(1, key="a")
        with FileEventQueue[Any](root) as other:
            assert other.publish(2, key="a") == first
    with FileEventQueue[Any](root) as queue:
        assert queue.publish(3, key="a") == first


def test_a_key_is_free_after_a_reset(queue: Queue) -> None:
    """The event that had it is gone."""
    queue.publish(1, key="a")
    queue.reset()
    assert queue.publish(2, key="a").id == 2
    with pytest.raises(EventExpiredError):
        queue.get_event(1)


def test_threads_that_race_for_keys_publish_each_once(queue: Queue) -> None:
    """With others that publish without keys; each of them is told the same event."""
    told: list[set[tuple[str | None, int]]] = [set() for _ in range(8)]

    def publish(thread: int) -> None:
        for number in range(30):
            event = queue.publish({"by": thread}, key=f"k{number}")
            told[thread].add((event.key, event.id))
            queue.publish({"by": thread})

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each == told[0] for each in told)
    assert sorted(event.key for event in queue.iter_events() if event.key) == sorted(f"k{n}" for n in range(30))
    assert queue.count_events() == 30 + 8 * 30


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key": ""}, "1 to 500 characters"),
        ({"key": "x" * 501}, "1 to 500 characters"),
        ({"key": "a\nb"}, "no control characters"),
        ({"key": "\ud800"}, "lone surrogates"),
        ({"key": 7}, "a key is a text"),
        ({"key": "a", "key_window_seconds": 0}, "key_window_seconds is a number of seconds"),
        ({"key": "a", "key_window_seconds": float("nan")}, "key_window_seconds is a number of seconds"),
        ({"key": "a", "key_window_seconds": True}, "key_window_seconds is a number of seconds"),
        ({"key_window_seconds": 5}, "give key="),
        ({"delay_seconds": -0.1}, "delay_seconds is a number of seconds from 0"),
        ({"delay_seconds": float("nan")}, "delay_seconds is a number of seconds from 0"),
        ({"delay_seconds": float("inf")}, "ten years"),
        ({"delay_seconds": 1e9}, "ten years"),
        ({"delay_seconds": "1"}, "delay_seconds is a number of seconds from 0"),
        ({"deliver_at": datetime(2030, 1, 1)}, "aware datetime"),
        ({"deliver_at": "2030-01-01"}, "aware datetime"),
        ({"deliver_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))}, "years 1 to 9999"),
        ({"deliver_at": datetime(2030, 1, 1, tzinfo=timezone.utc), "delay_seconds": 1}, "not both"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(queue: Queue, options: dict[str, Any], said: str) -> None:
    """One clear error each."""
    with pytest.raises(InvalidArgumentError, match=said):
        queue.publish({}, **options)
    assert queue.count_events() == 0


# -- delays -----------------------------------------------------------------------------------------------------------


class Seen:
    """A handler that remembers what it was given and when."""

    def __init__(self) -> None:
        self.events: list[QueueEvent[Any]] = []
        self.early: list[int] = []

    def __call__(self, event: QueueEvent[Any]) -> None:
        if event.deliver_at is not None and now() < event.deliver_at:
            self.early.append(event.id)
        self.events.append(event)

    @property
    def ids(self) -> list[int]:
        return [event.id for event in self.events]


MODES: list[dict[str, Any]] = [{}, {"group": "billing"}, {"group": "billing", "concurrency": 3}]


def subscribe(queue: Queue, seen: Seen, options: dict[str, Any]) -> None:
    """Subscribe, where a queue on several hosts has groups."""
    try:
        queue.subscribe(seen, **options)
    except CoordinationError as exc:
        if "not coordinated yet" not in str(exc):
            raise
        pytest.skip(str(exc))


def test_a_delayed_event_is_in_the_log_at_once(queue: Queue) -> None:
    """With its time, for whoever reads; a time in another zone is the same moment."""
    before = now()
    event = queue.publish(1, delay_seconds=3600)
    assert event.deliver_at is not None
    assert timedelta(seconds=3600) <= event.deliver_at - before < timedelta(seconds=3660)
    at = datetime(2040, 1, 31, 8, tzinfo=timezone(timedelta(hours=1)))
    assert queue.publish(2, deliver_at=at).deliver_at == at
    assert [each.deliver_at for each in queue.iter_events()] == [event.deliver_at, at]
    assert queue.search_events().items[0] == event == queue.get_event(1)


@pytest.mark.parametrize("options", MODES)
def test_a_delayed_event_is_handed_out_when_it_is_due(queue: Queue, wait_until: Wait, options: dict[str, Any]) -> None:
    """Never early, soon after, with one result, and it holds up none of those behind it."""
    seen = Seen()
    subscribe(queue, seen, options)
    late = queue.publish("late", delay_seconds=0.4)
    assert late.deliver_at is not None
    others = [queue.publish(n).id for n in range(5)]
    assert queue.wait_until_idle(20)
    if now() < late.deliver_at:
        assert sorted(seen.ids) == others
    wait_until(lambda: late.id in seen.ids)
    assert now() - late.deliver_at < timedelta(seconds=3)
    assert sorted(seen.ids[:5]) == others
    assert seen.early == []
    assert seen.events[-1] == late
    assert queue.wait_until_idle(20)
    assert queue.count_results(event_id__eq=late.id) == 1
    assert [result.attempt for result in queue.search_results(event_id__eq=late.id).items] == [1]


@pytest.mark.parametrize("options", MODES)
def test_several_delayed_events_come_when_each_is_due(queue: Queue, wait_until: Wait, options: dict[str, Any]) -> None:
    """A hundred of them, published in another order than they are due."""
    seen = Seen()
    subscribe(queue, seen, options)
    for number in range(100):
        queue.publish(number, delay_seconds=(number * 37 % 100) * 0.01)
    wait_until(lambda: len(seen.ids) == 100)
    assert seen.early == []
    assert sorted(seen.ids) == list(range(1, 101))
    assert queue.wait_until_idle(20)
    assert queue.count_results() == 100


def test_events_that_are_due_together_come_by_time_then_id(queue: Queue, wait_until: Wait) -> None:
    """Those that became due while the subscriber was busy."""
    seen, may_go_on, started = Seen(), threading.Event(), threading.Event()

    def handle(event: QueueEvent[Any]) -> None:
        seen(event)
        if event.payload == "slow":
            started.set()
            may_go_on.wait(20)

    queue.subscribe(handle)
    at = now() + timedelta(seconds=0.3)
    for number in (3, 1, 2, 1):
        queue.publish(number, deliver_at=at + timedelta(milliseconds=number))
    assert queue.wait_until_idle(20)
    queue.publish("slow")
    assert started.wait(20)
    wait_until(lambda: now() > at + timedelta(milliseconds=10))
    may_go_on.set()
    wait_until(lambda: len(seen.ids) == 5)
    assert seen.ids == [5, 2, 4, 3, 1]
    assert seen.early == []


@pytest.mark.parametrize("options", MODES)
def test_waiting_until_idle_does_not_wait_for_what_is_not_due(queue: Queue, options: dict[str, Any]) -> None:
    """Nor does closing."""
    seen = Seen()
    subscribe(queue, seen, options)
    queue.publish(1, delay_seconds=3600)
    queue.publish(2)
    started = time.monotonic()
    assert queue.wait_until_idle(20)
    queue.close()
    assert time.monotonic() - started < 15
    assert seen.ids == [2]


@pytest.mark.parametrize("options", MODES)
def test_waiting_until_idle_waits_for_what_is_due(queue: Queue, wait_until: Wait, options: dict[str, Any]) -> None:
    """As soon as it is, though the subscriber has passed it by."""
    seen = Seen()
    subscribe(queue, seen, options)
    for _ in range(20):
        event = queue.publish(1, delay_seconds=0.02)
        assert queue.wait_until_idle(20)
        assert event.deliver_at is not None
        due = event.deliver_at
        wait_until(lambda due=due: now() >= due)
        assert queue.wait_until_idle(20)
        assert event.id in seen.ids
    assert seen.early == []


@pytest.mark.parametrize("options", [{"from_index": 1}, {"group": "billing", "from_index": 1}])
def test_a_subscriber_that_starts_late_finds_what_is_delayed(
    root: Path, wait_until: Wait, options: dict[str, Any]
) -> None:
    """What became due meanwhile comes in the order of ids, like any other; the rest when it is due."""
    with FileEventQueue[Any](root) as queue:
        queue.publish("later", delay_seconds=2)
        past = [queue.publish(n, delay_seconds=0.05 - n * 0.01) for n in range(4)]
        queue.publish("now")
    wait_until(lambda: all(each.deliver_at < now() for each in past if each.deliver_at))
    with FileEventQueue[Any](root) as queue:
        seen = Seen()
        subscribe(queue, seen, options)
        wait_until(lambda: len(seen.ids) == 6)
        assert seen.ids == [2, 3, 4, 5, 6, 1]
        assert seen.early == []


def test_a_subscriber_without_a_start_gets_nothing_that_was_published_before(queue: Queue, wait_until: Wait) -> None:
    """Even if it is due later: its start is an id."""
    queue.publish("before", delay_seconds=0.1)
    seen = Seen()
    queue.subscribe(seen)
    after = queue.publish("after", delay_seconds=0.3)
    wait_until(lambda: seen.ids)
    assert seen.ids == [after.id]


def test_an_event_may_have_a_key_and_a_delay(queue: Queue) -> None:
    """A repeat does not move its time."""
    first = queue.publish(1, key="a", delay_seconds=3600)
    assert queue.publish(2, key="a", delay_seconds=1) == first
    assert queue.publish(2, key="a") == first
    assert first.deliver_at is not None
