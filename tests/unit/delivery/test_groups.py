"""Groups on files at their worst moments: retention, damage, forks, a disk that refuses."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import EventExpiredError, FileEventQueue, QueueEvent, Retention, RetryEvent, StorageError
from eventy_sync.delivery import group_thread
from eventy_sync.storage.state.leases import LeaseTable

Queue = FileEventQueue[Any]
Event = QueueEvent[Any]
Wait = Callable[..., None]

TEXT = "x" * 100


@pytest.fixture
def small(root: Path) -> Iterator[Queue]:
    """A queue that keeps about twenty events, eight or so in a segment."""
    with FileEventQueue[Any](root, segment_bytes=1024, retention=Retention(max_events=20)) as queue:
        yield queue


def oldest(queue: Queue) -> int:
    """Return the oldest event that is kept."""
    return int(queue.stats()["oldest"])


# -- retention -----------------------------------------------------------------------------------------------


def test_retention_keeps_what_a_group_has_not_finished(small: Queue) -> None:
    """Fresh or paused, automatically or by hand; once it is handled it goes."""
    small.subscribe(lambda event: None, group="billing", from_index=1)
    small.publish(TEXT)
    assert small.wait_until_idle(30)
    small.pause_group("billing")
    for _ in range(60):
        small.publish(TEXT)
    assert small.apply_retention() == []
    assert oldest(small) == 1
    small.resume_group("billing")
    assert small.wait_until_idle(30)
    assert small.count_results() == 61
    assert small.apply_retention()
    assert oldest(small) > 30


def test_retention_drops_up_to_the_oldest_unfinished_event(small: Queue, wait_until: Wait) -> None:
    """One that is leased or waits holds up what is behind it, and nothing in front."""
    begun, release = threading.Event(), threading.Event()

    def handle(event: Event) -> None:
        if event.id == 25:
            begun.set()
            assert release.wait(60)

    small.subscribe(handle, group="billing")
    for _ in range(80):
        small.publish(TEXT)
    assert begun.wait(30)
    wait_until(lambda: small.count_results() == 24)
    small.apply_retention()
    assert oldest(small) <= 25 < small.stats()["tail"] - 20
    assert oldest(small) > 10
    release.set()
    assert small.wait_until_idle(30)
    assert small.apply_retention()
    assert oldest(small) > 50


def test_retention_by_force_spares_no_group(small: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """The group passes over what is gone, and goes on with what is left."""
    seen: list[int] = []
    small.subscribe(lambda event: seen.append(event.id), group="billing")
    small.pause_group("billing")
    for _ in range(60):
        small.publish(TEXT)
    assert small.apply_retention(force=True, dry_run=True)
    assert oldest(small) == 1
    assert small.apply_retention(force=True)
    first = oldest(small)
    assert first > 30
    small.resume_group("billing")
    assert small.wait_until_idle(30)
    assert seen == list(range(first, 61))
    assert "events lost, the group goes on behind them" in caplog.text
    lost = [each for each in small.search_results(limit=100).items if not each.success]
    assert lost
    assert all("retention dropped it" in (each.details or "") for each in lost)


def test_publishing_asks_about_groups_only_when_something_would_go(root: Path) -> None:
    """The state store is not even made by a process that publishes, before that."""
    with FileEventQueue[Any](root, segment_bytes=1024, retention=Retention(max_events=40)) as queue:
        for _ in range(35):
            queue.publish(TEXT)
        assert len(list((root / "events").iterdir())) > 3
        assert not (root / "state.db").exists()
        for _ in range(60):
            queue.publish(TEXT)
        assert oldest(queue) > 1


def test_retention_that_cannot_ask_drops_nothing(
    small: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and publishing goes on."""

    def refuse() -> int:
        raise StorageError("cannot use state.db")

    monkeypatch.setattr(small._opened().log, "_needed_from", refuse)
    for _ in range(60):
        small.publish(TEXT)
    assert oldest(small) == 1
    assert "retention failed, publishing goes on: cannot use state.db" in caplog.text
    with pytest.raises(StorageError):
        small.apply_retention()


def test_a_known_group_may_be_told_of_a_start_that_is_gone(root: Path) -> None:
    """It goes on where it is; a new one is refused."""
    for _ in range(2):
        with FileEventQueue[Any](root, segment_bytes=1024, retention=Retention(max_events=20)) as queue:
            queue.subscribe(lambda event: None, group="billing", from_index=1)
            for _ in range(60):
                queue.publish(TEXT)
            assert queue.wait_until_idle(30)
            queue.apply_retention()
            with pytest.raises(EventExpiredError):
                queue.subscribe(print, group="shipping", from_index=1)
            assert [each.name for each in queue.groups()] == ["billing"]
    with FileEventQueue[Any](root) as queue:
        assert queue.count_results() > 0


def test_a_queue_whose_subscribers_cannot_start_is_not_left_open(root: Path, wait_until: Wait) -> None:
    """No thread of those that could goes on behind the error."""
    with FileEventQueue[Any](root, segment_bytes=1024, retention=Retention(max_events=20)) as queue:
        for _ in range(60):
            queue.publish(TEXT)
    queue.subscriber(group="billing")(repr)
    queue.subscriber(group="shipping", from_index=1)(repr)
    with pytest.raises(EventExpiredError), queue:
        pass
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("eventy-")])


# -- waking ----------------------------------------------------------------------------------------------------


def test_going_on_and_requeueing_wake_the_workers_of_this_process(
    root: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """They need not look again by themselves first."""
    monkeypatch.setattr(group_thread, "IDLE_SECONDS", 3600.0)
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        raise ValueError

    with FileEventQueue[Any](root) as queue:
        queue.subscribe(handle, group="billing", max_attempts=1)
        queue.pause_group("billing")
        queue.publish(1)
        assert not queue.wait_until_idle(0.2)
        queue.resume_group("billing")
        wait_until(lambda: queue.groups()[0].dead == 1)
        assert queue.requeue("billing") == 1
        wait_until(lambda: seen == [1, 1])


# -- damage, disks, forks ------------------------------------------------------------------------------------


def flip(root: Path, *numbers: int) -> None:
    """Damage the records of these events, all in the first segment."""
    segment = min((root / "events").glob("*.log"))
    lines = segment.read_bytes().splitlines(keepends=True)
    for number in numbers:
        lines[number - 1] = b"00000000" + lines[number - 1][8:]
    segment.write_bytes(b"".join(lines))


@pytest.mark.parametrize("max_attempts", [1, 5])
def test_damaged_records_in_a_lease_are_reported_and_passed_over(
    root: Path, max_attempts: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Alone, in a row, first and last; all others are handled, once."""
    with FileEventQueue[Any](root) as queue:
        queue.publish_many(range(300))
    damaged = [1, 7, 150, 151, 152, 299]
    flip(root, *damaged)
    seen: list[int] = []
    with FileEventQueue[Any](root) as queue:
        queue.subscribe(lambda event: seen.append(event.id), group="billing", from_index=1, max_attempts=max_attempts)
        assert queue.wait_until_idle(30)
        assert seen == [each for each in range(1, 301) if each not in damaged]
        failed = [each.event_id for each in queue.search_results(limit=1000).items if not each.success]
        assert set(failed) >= {1, 7, 150, 299}
        assert set(failed) <= set(damaged)
        assert queue.health()["gaps"] == len(damaged)
        assert queue.dead_letters("billing").items == []
    assert "events lost, the group goes on behind them: group=billing" in caplog.text


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While it is set, the state store refuses to exchange anything."""
    refusing = threading.Event()
    real = LeaseTable.exchange

    def exchange(table: LeaseTable, *arguments: Any) -> Any:
        if refusing.is_set():
            raise StorageError("cannot use state.db: disk I/O error")
        return real(table, *arguments)

    monkeypatch.setattr(LeaseTable, "exchange", exchange)
    return refusing


def test_a_state_store_that_refuses_costs_no_event(
    root: Path, refusing: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """What was handled meanwhile is settled as soon as it can be, and not handled again."""
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        if event.id == 10:
            refusing.set()

    with FileEventQueue[Any](root) as queue:
        queue.subscribe(handle, group="billing")
        queue.publish_many(range(20))
        while "group cannot go on, trying again: group=billing error=cannot use" not in caplog.text:
            threading.Event().wait(0.01)
        refusing.clear()
        assert queue.wait_until_idle(30)
        assert seen == list(range(1, 21))
        assert [(each.event_id, each.stale) for each in queue.search_results().items] == [
            (each, False) for each in range(1, 21)
        ]


def test_what_could_not_be_settled_at_the_end_is_said(
    root: Path, refusing: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """It will be handled again; an end with nothing in hand says nothing."""
    with FileEventQueue[Any](root) as queue:
        queue.subscribe(lambda event: refusing.set(), group="billing")
        queue.publish(1)
        while not refusing.is_set():
            threading.Event().wait(0.01)
    assert "the events in hand will be handled again" in caplog.text
    caplog.clear()
    refusing.clear()
    with FileEventQueue[Any](root) as queue:
        queue.subscribe(lambda event: None, group="shipping")
    assert "handled again" not in caplog.text


def test_a_child_of_a_fork_takes_nothing_from_its_parents_hands(root: Path, wait_until: Wait) -> None:
    """It has no leases of its own, and may work for the group beside its parent."""
    begun, release = threading.Event(), threading.Event()
    seen: list[int] = []

    def handle(event: Event) -> None:
        begun.set()
        assert release.wait(60)
        seen.append(event.id)

    with FileEventQueue[Any](root) as queue:
        queue.subscribe(handle, group="billing", lease_seconds=1.0)
        queue.publish_many([1, 2, 3])
        assert begun.wait(30)
        wait_until(lambda: queue.groups()[0].leased == 1)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                handled: list[int] = []
                queue.subscribe(lambda event: handled.append(event.id), group="billing")
                deadline = time.monotonic() + 30
                while queue.groups()[0].lag > 1 and time.monotonic() < deadline:
                    threading.Event().wait(0.01)
                code = 0 if handled == [2, 3] else 2
                queue.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        release.set()
        assert queue.wait_until_idle(30)
        assert seen == [1]
        assert {(each.event_id, each.attempt, each.stale) for each in queue.search_results().items} == {
            (each, 1, False) for each in (1, 2, 3)
        }


def test_what_is_published_while_a_reset_runs_is_handled(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between dropping what is there and telling the groups, another process may publish."""
    seen: list[int] = []
    with FileEventQueue[Any](root) as queue, FileEventQueue[Any](root) as other:
        queue.publish_many([1, 2])
        queue.subscribe(lambda event: seen.append(event.id), group="billing")
        clear = queue._opened().claims.clear
        monkeypatch.setattr(queue._opened().claims, "clear", lambda: (other.publish(3), clear()))
        queue.reset()
        assert queue.wait_until_idle(30)
        assert set(seen) == {3}


def test_a_group_far_behind_has_nothing_kept_for_each_event(root: Path, wait_until: Wait) -> None:
    """So it starts at once, however far: what is kept grows with what workers have, not with the history."""
    begun, release = threading.Event(), threading.Event()

    def handle(event: Event) -> None:
        begun.set()
        assert release.wait(60)
        raise RetryEvent(delay_seconds=3600)

    with FileEventQueue[Any](root) as queue:
        queue.publish_many(range(20_000))
        queue.subscribe(handle, group="billing", from_index=1)
        assert begun.wait(30)
        (group,) = queue.groups()
        assert (group.next_id, group.lag, group.leased, group.waiting) == (2, 20_000, 1, 0)
        rows = [
            queue._opened().store._connection.rows(f"SELECT COUNT(*) FROM {table}")[0][0]
            for table in ("groups", "leases", "waiting", "finished", "results", "result_runs")
        ]
        assert rows == [1, 1, 0, 0, 0, 0]
        queue.pause_group("billing")
        release.set()
