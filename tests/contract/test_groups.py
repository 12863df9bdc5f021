"""What the groups of every queue do: shared work, each event handled by one worker at a time, at least once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventy_sync import (
    Backoff,
    EventResult,
    FileEventQueue,
    GroupInfo,
    GroupNotFoundError,
    InvalidArgumentError,
    QueueEvent,
    RetryEvent,
    SkipEvent,
)

Queue = FileEventQueue[Any]
Event = QueueEvent[Any]
Wait = Callable[..., None]

NO_BACKOFF = 0.0


@pytest.fixture
def queue(root: Path) -> Iterator[Queue]:
    with FileEventQueue[Any](root) as queue:
        yield queue


def info(queue: Queue, name: str = "billing") -> GroupInfo:
    """Return how one group is doing."""
    (found,) = [each for each in queue.groups() if each.name == name]
    return found


def results(queue: Queue, event_id: int | None = None) -> list[EventResult]:
    """Return what is kept of handlers' runs."""
    return queue.search_results(limit=1000, event_id__eq=event_id).items


class Gate:
    """A handler that says which events it has begun, and ends none before it is opened."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self._opened = threading.Event()

    def __call__(self, event: Event) -> None:
        self.begun.append(event.id)
        assert self._opened.wait(60)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


# -- failing and trying again --------------------------------------------------------------------------------


def test_an_event_that_fails_is_tried_again_and_then_kept_as_a_dead_letter(queue: Queue) -> None:
    """After its backoff, as often as was asked for; with the traceback, the attempts and the times."""
    tried: list[float] = []

    def charge(event: Event) -> None:
        tried.append(time.monotonic())
        raise ValueError("no funds for the order")

    queue.subscribe(charge, group="billing", max_attempts=3, backoff=Backoff(0.1, 2, jitter=0))
    event = queue.publish({"order": 7})
    assert queue.wait_until_idle(30)
    first, second, third = tried
    assert second - first >= 0.1
    assert third - second >= 0.2
    (letter,) = queue.dead_letters("billing").items
    assert (letter.event_id, letter.group, letter.attempts, letter.worker_id) == (
        event.id,
        "billing",
        3,
        queue.get_worker_id(),
    )
    assert letter.details.startswith("Traceback")
    assert "in charge" in letter.details
    assert letter.details.endswith("ValueError: no funds for the order\n")
    assert event.created_at <= letter.first_attempt_at
    assert (letter.died_at - letter.first_attempt_at).total_seconds() >= 0.3
    assert [(each.attempt, each.success, each.stale) for each in results(queue)] == [
        (1, False, False),
        (2, False, False),
        (3, False, False),
    ]
    assert info(queue) == GroupInfo("billing", 2, 0, 0, 0, 1, False)


def test_an_event_that_succeeds_in_the_end_is_no_dead_letter(queue: Queue) -> None:
    """Its last attempt's result says so."""

    def handle(event: Event) -> str:
        if len(results(queue)) < 2:
            raise ValueError("not yet")
        return "at last"

    queue.subscribe(handle, group="billing", max_attempts=9, backoff=0.01)
    queue.publish(1)
    assert queue.wait_until_idle(30)
    assert queue.dead_letters("billing").items == []
    assert [(each.attempt, each.success) for each in results(queue)] == [(1, False), (2, False), (3, True)]
    assert results(queue)[-1].details == "at last"


def test_requeued_dead_letters_are_handled_again(queue: Queue, wait_until: Wait) -> None:
    """From the first attempt on, all or those that are named."""
    is_mended = False
    seen: list[tuple[int, int]] = []

    def handle(event: Event) -> None:
        seen.append((event.id, event.payload))
        if not is_mended:
            raise ValueError("broken")

    queue.subscribe(handle, group="billing", max_attempts=2, backoff=NO_BACKOFF)
    queue.publish_many([1, 2, 3])
    wait_until(lambda: info(queue).dead == 3)
    is_mended = True
    assert queue.requeue("billing", [2, 77]) == 1
    assert queue.wait_until_idle(30)
    assert [each.event_id for each in queue.dead_letters("billing").items] == [1, 3]
    assert [each.attempt for each in results(queue, 2)] == [1, 2, 1]
    assert queue.requeue("billing") == 2
    assert queue.wait_until_idle(30)
    assert info(queue) == GroupInfo("billing", 4, 0, 0, 0, 0, False)
    assert len(seen) == 9


def test_what_asks_for_more_time_gets_it_and_is_charged_nothing(queue: Queue) -> None:
    """However often, with one attempt only; others go on meanwhile, and no result is kept of asking."""
    seen: list[tuple[int, float]] = []

    def handle(event: Event) -> None:
        seen.append((event.id, time.monotonic()))
        if event.id == 1 and [each for each, _ in seen].count(1) < 4:
            raise RetryEvent(delay_seconds=0.1)

    queue.subscribe(handle, group="billing", max_attempts=1)
    queue.publish_many([1, 2, 3])
    assert queue.wait_until_idle(30)
    assert [event_id for event_id, _ in seen] == [1, 2, 3, 1, 1, 1]
    times = [at for event_id, at in seen if event_id == 1]
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(times))
    assert [(each.event_id, each.attempt, each.success) for each in results(queue, 1)] == [(1, 1, True)]
    assert info(queue).dead == 0


def test_no_delay_loses_its_fractions_of_a_millisecond(queue: Queue) -> None:
    """Neither on the way to who counts it nor to the clock that it is added to."""
    begun: list[float] = []

    def handle(event: Event) -> None:
        begun.append(time.monotonic())
        if len(begun) < 50:
            raise RetryEvent(delay_seconds=0.0109)

    queue.subscribe(handle, group="billing")
    queue.publish(1)
    assert queue.wait_until_idle(30)
    assert min(later - earlier for earlier, later in pairwise(begun)) >= 0.0109


def test_a_delay_that_no_clock_knows_is_a_failure_like_others(queue: Queue) -> None:
    """It ends no thread: the next event is handled."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        if event.id == 1:
            raise RetryEvent(delay_seconds=1e300)

    queue.subscribe(handle, group="billing", max_attempts=1)
    queue.publish_many([1, 2])
    assert queue.wait_until_idle(30)
    assert seen == [1, 2]
    assert "delay_seconds is a number" in queue.dead_letters("billing").items[0].details


def test_what_is_skipped_is_finished_without_a_result(queue: Queue) -> None:
    """It is neither tried again nor dead."""

    def handle(event: Event) -> None:
        if event.payload % 2:
            raise SkipEvent

    queue.subscribe(handle, group="billing")
    queue.publish_many(range(6))
    assert queue.wait_until_idle(30)
    assert [each.event_id for each in results(queue)] == [1, 3, 5]
    assert info(queue) == GroupInfo("billing", 7, 0, 0, 0, 0, False)


class Awkward(Exception):
    """Cannot be pickled, nor printed."""

    def __init__(self, lock: Any) -> None:
        super().__init__(lock)
        self.lock = lock

    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")

    def __str__(self) -> str:
        raise ValueError("cannot be printed")

    __repr__ = __str__


@pytest.mark.parametrize("error", [Awkward(threading.Lock()), SystemExit(3), MemoryError(), RecursionError()])
def test_a_handler_that_raises_anything_does_not_end_the_group(queue: Queue, error: BaseException) -> None:
    """It is a dead letter that names the exception, and the next event comes."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        if event.id == 2:
            raise error

    queue.subscribe(handle, group="billing", max_attempts=2, backoff=NO_BACKOFF)
    queue.publish_many([1, 2, 3])
    assert queue.wait_until_idle(30)
    assert sorted(seen) == [1, 2, 2, 3]
    (letter,) = queue.dead_letters("billing").items
    assert type(error).__name__ in letter.details


# -- where a group is ----------------------------------------------------------------------------------------


def test_a_new_group_starts_at_the_present(queue: Queue) -> None:
    """Or where it is told to, back in the past."""
    queue.publish_many([1, 2, 3])
    present: list[int] = []
    past: list[int] = []
    queue.subscribe(lambda event: present.append(event.id), group="present")
    queue.subscribe(lambda event: past.append(event.id), group="past", from_index=2)
    queue.publish(4)
    assert queue.wait_until_idle(30)
    assert (present, past) == ([4], [2, 3, 4])


def test_a_group_keeps_its_place_while_nobody_works(root: Path) -> None:
    """Whatever was published meanwhile, and wherever its next subscriber says it should begin."""
    seen: list[int] = []
    for number in range(3):
        with FileEventQueue[Any](root) as queue:
            queue.publish(number)
            queue.subscribe(lambda event: seen.append(event.id), group="billing", from_index=1)
            queue.publish(number)
            assert queue.wait_until_idle(30)
        with FileEventQueue[Any](root) as queue:
            queue.publish(number)
    assert seen == list(range(1, 9))


def test_what_waits_for_another_attempt_does_so_through_a_restart(root: Path) -> None:
    """With its attempts."""

    def fail(event: Event) -> None:
        raise ValueError

    with FileEventQueue[Any](root) as queue:
        queue.subscribe(fail, group="billing", max_attempts=2, backoff=0.5)
        queue.publish(1)
        assert not queue.wait_for_result(1, 30).success
    with FileEventQueue[Any](root) as queue:
        assert info(queue).waiting == 1
        queue.subscribe(fail, group="billing", max_attempts=2, backoff=0.5)
        assert queue.wait_until_idle(30)
        assert [each.attempts for each in queue.dead_letters("billing").items] == [2]


def test_groups_do_not_know_of_each_other(queue: Queue) -> None:
    """Each handles every event, and so does a subscriber without a group."""
    seen: dict[str, list[int]] = {"billing": [], "shipping": [], "": []}
    queue.subscribe(lambda event: seen["billing"].append(event.id), group="billing")
    queue.subscribe(lambda event: seen["shipping"].append(event.id), group="shipping")
    queue.subscribe(lambda event: seen[""].append(event.id))
    queue.publish_many(range(20))
    assert queue.wait_until_idle(30)
    assert list(seen.values()) == [list(range(1, 21))] * 3


def test_how_far_a_group_is_can_be_seen(queue: Queue, gate: Gate, wait_until: Wait) -> None:
    """What was never handed out, what workers have, what waits, what is dead."""
    queue.subscribe(lambda event: 1 / (event.id - 1), group="billing", max_attempts=1)
    queue.subscribe(gate, group="shipping", concurrency=2)
    queue.publish_many(range(5))
    wait_until(lambda: info(queue).dead == 1 and info(queue).lag == 0)
    wait_until(lambda: len(gate.begun) == 2 and info(queue, "shipping").leased == 2)
    shipping = info(queue, "shipping")
    assert (shipping.lag, shipping.dead, shipping.paused) == (5, 0, False)
    assert shipping.lag == 5 + 1 - shipping.next_id + shipping.leased + shipping.waiting
    assert not queue.wait_until_idle(0.05)
    gate.open()
    assert queue.wait_until_idle(30)
    assert info(queue, "shipping") == GroupInfo("shipping", 6, 0, 0, 0, 0, False)


def test_a_paused_group_handles_nothing_until_it_goes_on(queue: Queue, gate: Gate, wait_until: Wait) -> None:
    """What is being handled is brought to its end; afterwards it goes on at once."""
    queue.subscribe(gate, group="billing")
    queue.publish(1)
    wait_until(lambda: gate.begun == [1])
    queue.pause_group("billing")
    queue.publish_many([2, 3])
    gate.open()
    wait_until(lambda: info(queue) == GroupInfo("billing", 2, 2, 0, 0, 0, True))
    assert not queue.wait_until_idle(0.3)
    assert gate.begun == [1]
    queue.resume_group("billing")
    assert queue.wait_until_idle(30)
    assert gate.begun == [1, 2, 3]


def test_a_pause_outlasts_a_restart(root: Path) -> None:
    """It is the group's, not a worker's."""
    with FileEventQueue[Any](root) as queue:
        queue.subscribe(print, group="billing")
        queue.pause_group("billing")
    with FileEventQueue[Any](root) as queue:
        assert info(queue).paused


# -- who handles what ----------------------------------------------------------------------------------------


def test_a_result_says_who_handled_what_under_which_token(queue: Queue) -> None:
    """Group, worker, subscription, attempt, token, duration, times."""
    subscription = queue.subscribe(lambda event: time.sleep(0.01), group="billing")
    events = queue.publish_many(range(40))
    assert queue.wait_until_idle(30)
    found = results(queue)
    assert [each.event_id for each in found] == [each.id for each in events]
    for each in found:
        assert (each.group, each.worker_id, each.subscription_id) == ("billing", queue.get_worker_id(), subscription.id)
        assert (each.attempt, each.success, each.details, each.stale) == (1, True, None, False)
        assert 0.01 <= each.duration_seconds < 30
        assert queue.get_result(each.id) == each
    tokens = [each.token or 0 for each in found]
    assert tokens == sorted(tokens)
    assert 1 <= tokens[0] < tokens[-1]


def test_text_that_a_handler_returns_is_kept(queue: Queue) -> None:
    """In its event's result, among others that have none."""
    queue.subscribe(lambda event: f"sent {event.payload}" if event.payload % 3 == 0 else None, group="billing")
    queue.publish_many(range(7))
    assert queue.wait_until_idle(30)
    wanted = ["sent 0", None, None, "sent 3", None, None, "sent 6"]
    assert [each.details for each in sorted(results(queue), key=lambda each: each.event_id)] == wanted


def test_one_worker_with_one_thread_handles_events_in_order(queue: Queue) -> None:
    """By id, whatever fails; what is tried again comes when its time has come."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        if event.id % 50 == 0 and seen.count(event.id) == 1:
            raise ValueError

    queue.subscribe(handle, group="billing", concurrency=1, backoff=0.2)
    queue.publish_many(range(400))
    assert queue.wait_until_idle(30)
    first_time = list(dict.fromkeys(seen))
    assert first_time == list(range(1, 401))
    assert sorted(seen) == sorted([*range(1, 401), *range(50, 401, 50)])


def test_order_holds_where_a_handler_is_slow_at_times(queue: Queue) -> None:
    """Although what is behind a slow event was given back meanwhile."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        if event.id in (120, 250):
            time.sleep(0.4)

    queue.publish_many(range(400))
    queue.subscribe(handle, group="billing", concurrency=1, from_index=1)
    assert queue.wait_until_idle(30)
    assert seen == list(range(1, 401))
    assert {each.attempt for each in results(queue)} == {1}


def test_concurrency_is_how_many_run_at_once(queue: Queue, gate: Gate, wait_until: Wait) -> None:
    """Neither fewer nor more."""
    queue.subscribe(gate, group="billing", concurrency=4)
    queue.publish_many(range(10))
    wait_until(lambda: len(gate.begun) == 4)
    assert not queue.wait_until_idle(0.3)
    assert len(gate.begun) == 4
    gate.open()
    assert queue.wait_until_idle(30)
    assert sorted(gate.begun) == list(range(1, 11))


def test_a_handler_that_blocks_holds_up_nobody_else(queue: Queue, wait_until: Wait) -> None:
    """What its worker had taken behind it is handed to others, without an attempt being charged."""
    blocked, release = threading.Event(), threading.Event()
    seen: list[int] = []

    def handle(event: Event) -> None:
        if event.id == 150:
            blocked.set()
            assert release.wait(60)
        seen.append(event.id)

    queue.publish_many(range(400))
    queue.subscribe(handle, group="billing", concurrency=2, from_index=1)
    assert blocked.wait(30)
    wait_until(lambda: len(seen) == 399)
    wait_until(lambda: info(queue).lag == info(queue).leased == 1)  # the last of them are settled a little later
    release.set()
    assert queue.wait_until_idle(30)
    assert sorted(seen) == list(range(1, 401))
    assert {each.attempt for each in results(queue)} == {1}


def test_what_a_slow_handler_holds_up_goes_to_idle_threads_at_once(
    queue: Queue, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are woken: their own looking would be much later."""
    monkeypatch.setattr("eventy_sync.delivery.group_thread.IDLE_SECONDS", 1000.0)
    seen: list[int] = []

    def handle(event: Event) -> None:
        if event.id == 2001:
            wait_until(lambda: len(seen) == 2019)
        seen.append(event.id)

    queue.subscribe(handle, group="billing", concurrency=2)
    queue.publish_many(range(2000))  # they learn that events take no time, and take many at once
    assert queue.wait_until_idle(30)
    queue.publish_many(range(20))
    assert queue.wait_until_idle(30)
    assert sorted(seen) == list(range(1, 2021))
    assert queue.count_results(success__eq=False) == 0  # the handler that waits has seen the others


def test_what_turns_out_slow_is_shared_anew(queue: Queue) -> None:
    """Though none of the events alone is slow enough to be seen, and a worker had leased many while they were fast."""
    slow_by: Counter[str] = Counter()

    def handle(event: Event) -> None:
        if event.id > 2400:
            slow_by[threading.current_thread().name] += 1
            time.sleep(0.03)

    queue.subscribe(handle, group="billing", concurrency=2)
    queue.publish_many(range(2000))
    assert queue.wait_until_idle(30)
    queue.publish_many(range(500))
    assert queue.wait_until_idle(30)
    assert slow_by.total() == 100
    assert len(slow_by) == 2
    assert min(slow_by.values()) > 25
    assert queue.count_results() == 2500
    assert {each.attempt for each in results(queue, 2500)} == {1}


def test_a_lease_on_more_than_is_read_at_once_is_handled_wholly(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order; what was not read is given back without being charged."""
    monkeypatch.setattr("eventy_sync.storage.log.reader.MOST_CHUNKS", 1)
    seen: list[int] = []
    queue.subscribe(lambda event: seen.append(event.id), group="billing", concurrency=1)
    queue.publish_many(range(2000))  # it learns that events take no time, nor space
    assert queue.wait_until_idle(30)
    queue.publish_many(["x" * 20_000] * 200)
    assert queue.wait_until_idle(30)
    assert seen == list(range(1, 2201))
    assert queue.count_results() == queue.count_results(success__eq=True) == 2200
    assert {each.attempt for each in results(queue, 2200)} == {1}


def test_a_lease_lasts_as_long_as_its_handler(queue: Queue) -> None:
    """It is renewed: nobody else gets the event however long it takes."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        time.sleep(1.2)

    queue.subscribe(handle, group="billing", concurrency=3, lease_seconds=0.3)
    queue.publish(1)
    assert queue.wait_until_idle(30)
    assert seen == [1]
    assert [(each.attempt, each.stale) for each in results(queue)] == [(1, False)]


def test_two_workers_share_the_events(root: Path, wait_until: Wait) -> None:
    """None is handled twice, both get some, and both know when all is done."""
    seen: dict[UUID, list[int]] = {}
    with FileEventQueue[Any](root) as one, FileEventQueue[Any](root) as other:
        for queue in (one, other):
            mine = seen.setdefault(queue.get_worker_id(), [])
            queue.subscribe(lambda event, mine=mine: (mine.append(event.id), time.sleep(0.001)), group="billing")
        one.publish_many(range(1000))
        assert one.wait_until_idle(30)
        assert other.wait_until_idle(30)  # it may be storing its last results
        assert sorted(seen[one.get_worker_id()] + seen[other.get_worker_id()]) == list(range(1, 1001))
        assert all(seen.values())
        assert {(each.event_id, each.worker_id) for each in results(one)} == {
            (event_id, worker) for worker, ids in seen.items() for event_id in ids
        }


def test_a_subscriber_that_ends_leaves_its_events_to_others(queue: Queue, gate: Gate, wait_until: Wait) -> None:
    """What it had not begun is handled by whoever is left, uncharged."""
    seen: list[int] = []
    first = queue.subscribe(gate, group="billing")
    queue.publish_many(range(10))
    wait_until(lambda: gate.begun == [1])
    ending = threading.Thread(target=queue.unsubscribe, args=(first.id,))
    ending.start()
    queue.subscribe(lambda event: seen.append(event.id), group="billing")
    wait_until(lambda: seen == list(range(2, 11)))
    gate.open()
    ending.join()
    assert queue.wait_until_idle(30)
    assert {each.attempt for each in results(queue)} == {1}


# -- endings -------------------------------------------------------------------------------------------------


def test_closing_lets_a_handler_finish_and_gives_the_rest_back(root: Path, gate: Gate, wait_until: Wait) -> None:
    """The next worker begins with what was not begun, at once."""
    with FileEventQueue[Any](root) as queue:
        queue.subscribe(gate, group="billing", max_attempts=2)
        queue.publish_many(range(5))
        wait_until(lambda: gate.begun == [1])
        closing = threading.Thread(target=queue.close)
        closing.start()
        gate.open()
        closing.join()
    seen: list[int] = []
    with FileEventQueue[Any](root) as queue:
        assert info(queue) == GroupInfo("billing", 2, 4, 0, 0, 0, False)
        queue.subscribe(lambda event: seen.append(event.id), group="billing", max_attempts=2)
        assert queue.wait_until_idle(30)
        assert seen == [2, 3, 4, 5]
        assert [(each.event_id, each.attempt) for each in results(queue)] == [(each, 1) for each in range(1, 6)]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_handler_may_close_the_queue(root: Path, concurrency: int, wait_until: Wait) -> None:
    """Its own event is finished all the same."""
    queue = FileEventQueue[Any](root)
    queue.open()
    handled: list[int] = []

    def handle(event: Event) -> None:
        handled.append(event.id)
        if event.id == 2:
            wait_until(lambda: 1 in handled)
            queue.close()

    queue.subscribe(handle, group="billing", concurrency=concurrency)
    queue.publish_many([1, 2])
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("eventy-")])
    with FileEventQueue[Any](root) as queue:
        assert info(queue).lag == 0
        assert {each.event_id for each in results(queue)} == {1, 2}


def test_closing_waits_no_longer_than_it_was_told(root: Path, gate: Gate, wait_until: Wait) -> None:
    """The event in the handler's hands is tried again when its lease has run out; the others at once."""
    queue = FileEventQueue[Any](root)
    queue.open()
    queue.subscribe(gate, group="billing", lease_seconds=1.0)
    queue.publish_many([1, 2, 3])
    wait_until(lambda: gate.begun == [1])
    began = time.monotonic()
    queue.close(timeout=0.3)
    assert time.monotonic() - began < 10
    with FileEventQueue[Any](root) as queue:
        seen: list[int] = []
        queue.subscribe(lambda event: seen.append(event.id), group="billing", lease_seconds=1.0)
        assert queue.wait_until_idle(30)
        assert seen == [2, 3, 1]
        assert [each.attempt for each in results(queue, 1)] == [2]
        gate.open()


def test_a_reset_begins_every_group_anew(queue: Queue) -> None:
    """Nothing of before is handled any more, what is published from then on is."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        raise ValueError

    queue.subscribe(handle, group="billing", backoff=3600)
    queue.publish_many([1, 2, 3])
    queue.wait_for_result(3, 30)
    queue.reset()
    assert info(queue) == GroupInfo("billing", 4, 0, 0, 0, 0, False)
    queue.publish(4)
    queue.wait_for_result(4, 30)
    assert seen == [1, 2, 3, 4]


# -- arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a/b", "../x", "ä", "a\n", "a:b", "{a}", "-a", ".a", "a" * 101, "a\0", 7, b"a", True]
)
def test_a_group_has_a_plain_name(queue: Queue, name: Any) -> None:
    """Everything else is refused, wherever it is given."""
    for call in (
        lambda: queue.subscribe(print, group=name),
        lambda: queue.pause_group(name),
        lambda: queue.resume_group(name),
        lambda: queue.dead_letters(name),
        lambda: queue.requeue(name),
        lambda: queue.subscriber(group=name)(print),
    ):
        with pytest.raises(InvalidArgumentError, match="a group's name is 1 to 100"):
            call()
    assert queue.groups() == []


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_attempts", 0, "max_attempts is a whole number from 1 to 1000, not 0"),
        ("max_attempts", -3, "max_attempts is a whole number from 1 to 1000, not -3"),
        ("max_attempts", 2.0, "max_attempts is a whole number from 1 to 1000, not 2.0"),
        ("max_attempts", True, "max_attempts is a whole number from 1 to 1000, not True"),
        ("concurrency", 0, "concurrency is a whole number from 1 to 1000, not 0"),
        ("concurrency", 10**9, "concurrency is a whole number from 1 to 1000, not 1000000000"),
        ("lease_seconds", 0, "lease_seconds is a number from 0.1 to 86400, not 0"),
        ("lease_seconds", "60", "lease_seconds is a number from 0.1 to 86400, not '60'"),
        ("lease_seconds", float("nan"), "lease_seconds is a number from 0.1 to 86400, not nan"),
        ("backoff", "soon", "backoff is a number from 0 to 2592000 or a Backoff"),
        ("backoff", -1, "backoff is a number from 0 to 2592000 or a Backoff"),
        ("backoff", float("nan"), "backoff is a number from 0 to 2592000 or a Backoff"),
        ("backoff", float("inf"), "backoff is a number from 0 to 2592000 or a Backoff"),
        ("backoff", None, "backoff is a number from 0 to 2592000 or a Backoff"),
        ("backoff", 10**400, "backoff is a number from 0 to 2592000 or a Backoff"),
    ],
)
def test_an_option_of_a_group_that_makes_no_sense_is_refused(
    queue: Queue, option: str, value: Any, message: str
) -> None:
    """With its name, what it may be, and what it is; also before the queue is open."""
    with pytest.raises(InvalidArgumentError, match=message.replace("(", r"\(")):
        queue.subscribe(print, group="billing", **{option: value})
    with pytest.raises(InvalidArgumentError, match=message.replace("(", r"\(")):
        queue.subscriber(group="billing", **{option: value})(print)
    assert queue.groups() == []
    assert queue.count_subscriptions() == 0


@pytest.mark.parametrize("option", [{"max_attempts": 3}, {"backoff": 3.0}, {"concurrency": 3}, {"lease_seconds": 3.0}])
def test_options_of_a_group_need_a_group(queue: Queue, option: dict[str, Any]) -> None:
    """They would change nothing without, so they are a mistake."""
    with pytest.raises(InvalidArgumentError, match="are options of a group: give group=, too"):
        queue.subscribe(print, **option)


def test_two_subscribers_of_a_group_have_the_same_settings(queue: Queue) -> None:
    """Others are refused, with both named; the same are welcome."""
    queue.subscribe(print, group="billing", max_attempts=3)
    with pytest.raises(InvalidArgumentError, match=r"other settings: .*max_attempts=3.*max_attempts=4"):
        queue.subscribe(repr, group="billing", max_attempts=4)
    queue.subscribe(repr, group="billing", max_attempts=3)
    queue.subscribe(repr, group="shipping", max_attempts=4)
    assert queue.count_subscriptions() == 3


def test_an_equal_subscriber_of_a_group_is_found_if_that_is_asked_for(queue: Queue) -> None:
    """As it is without a group; in another group it is another one."""
    first = queue.subscribe(print, group="billing")
    assert queue.subscribe(print, True, group="billing").id == first.id
    others = {queue.subscribe(print, True, group="shipping").id, queue.subscribe(print, True).id}
    assert first.id not in others
    assert queue.count_subscriptions() == 3


def test_a_decorated_handler_joins_its_group_when_the_queue_opens(root: Path) -> None:
    """With its options."""
    queue = FileEventQueue[Any](root)
    seen: list[int] = []

    @queue.subscriber(group="billing", max_attempts=1, from_index=1)
    def handle(event: Event) -> None:
        seen.append(event.id)
        raise ValueError

    for number in (1, 2):
        with queue:
            queue.publish(number)
            assert queue.wait_until_idle(30)
    assert seen == [1, 2]


def test_an_unknown_group_is_said_to_be_unknown(queue: Queue) -> None:
    """Rather than being made, or found empty."""
    for call in (queue.pause_group, queue.resume_group, queue.dead_letters, queue.requeue):
        with pytest.raises(GroupNotFoundError, match="no group 'billing'"):
            call("billing")
    assert queue.groups() == []
    queue.subscribe(print, group="billing")
    with pytest.raises(InvalidArgumentError, match="event id"):
        queue.requeue("billing", [0])
