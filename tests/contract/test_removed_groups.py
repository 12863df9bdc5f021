"""What the removal of a group does on every queue: nothing of it is left but results, and its name is free."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import (
    FileEventQueue,
    GroupInUseError,
    GroupNotFoundError,
    InvalidArgumentError,
    QueueEvent,
    Retention,
    RetryEvent,
)
from eventy_sync.identifiers import new_id
from eventy_sync.storage.state import Settlement, Want

Queue = FileEventQueue[Any]
Wait = Callable[..., None]


@pytest.fixture
def queue(root: Path) -> Iterator[Queue]:
    """A queue whose group "billing" has handled an event and given one up, and lets a third one wait."""
    with FileEventQueue[Any](root, segment_bytes=4096, retention=Retention(max_events=50)) as queue:

        def handle(event: QueueEvent[Any]) -> None:
            if event.id == 2:
                raise ValueError("no")
            if event.id == 3:
                raise RetryEvent(delay_seconds=600)

        subscription = queue.subscribe(handle, group="billing", max_attempts=1)
        queue.publish_many([1, 2, 3])
        deadline = threading.Event()
        for _ in range(600):
            (found,) = queue.groups()
            if (found.next_id, found.leased, found.waiting, found.dead) == (4, 0, 1, 1):
                break
            deadline.wait(0.05)
        else:
            pytest.fail(f"the group is not as it should be: {found}")
        queue.unsubscribe(subscription.id)
        yield queue


def is_removed(queue: Queue) -> bool:
    """Remove the group unless it is in use."""
    try:
        queue.remove_group("billing")
    except GroupInUseError:
        return False
    return True


def test_a_removed_group_leaves_its_results_and_nothing_else(queue: Queue) -> None:
    """It is as unknown as one that never was."""
    queue.pause_group("billing")
    before = queue.search_results(group__eq="billing").items
    queue.remove_group("billing")
    assert queue.groups() == []
    assert before
    assert queue.search_results(group__eq="billing").items == before
    for ask in (queue.remove_group, queue.pause_group, queue.resume_group, queue.dead_letters, queue.requeue):
        with pytest.raises(GroupNotFoundError, match="there is no group 'billing'"):
            ask("billing")
    with pytest.raises(InvalidArgumentError):
        queue.remove_group("no name")


def test_retention_goes_on_once_the_group_is_removed(queue: Queue) -> None:
    """What the group had not finished held it up, and does no longer."""
    for _ in range(20):
        queue.publish_many(["x" * 500] * 5)
    assert queue.apply_retention() == []
    queue.remove_group("billing")
    assert queue.apply_retention()
    assert queue.stats()["oldest"] > 3


def test_a_group_that_is_made_anew_starts_as_a_new_one(queue: Queue) -> None:
    """At the present, or where it is told to; it is not paused, and nothing of the former one comes to it."""
    queue.pause_group("billing")
    queue.remove_group("billing")
    seen: list[int] = []
    subscription = queue.subscribe(lambda event: seen.append(event.id), group="billing")
    queue.publish(4)
    assert queue.wait_until_idle(30)
    assert seen == [4]
    queue.unsubscribe(subscription.id)
    queue.remove_group("billing")
    queue.subscribe(lambda event: seen.append(event.id), group="billing", from_index=1)
    assert queue.wait_until_idle(30)
    assert sorted(seen[1:]) == [1, 2, 3, 4]
    assert queue.dead_letters("billing").items == []


def test_a_group_is_not_removed_under_its_workers(queue: Queue) -> None:
    """Neither while this process subscribes with it, nor while events of it are leased elsewhere."""
    subscription = queue.subscribe(lambda event: None, group="billing", max_attempts=1)
    with pytest.raises(GroupInUseError, match="this process subscribes with it"):
        queue.remove_group("billing")
    queue.unsubscribe(subscription.id)
    queue.publish_many([4, 5])
    leases, worker_id = queue._opened().coordinator.leases, new_id()
    taken = leases.exchange("billing", worker_id, None, Want(2, 5, 60.0, 1))
    with pytest.raises(GroupInUseError, match="2 events are in the hands of workers"):
        queue.remove_group("billing")
    assert queue.groups()[0].leased == 2
    leases.exchange("billing", worker_id, Settlement(done=taken.leases), None)
    queue.remove_group("billing")
    assert queue.groups() == []


def test_what_a_killed_worker_had_stands_in_the_way_until_its_lease_runs_out(queue: Queue, wait_until: Wait) -> None:
    """Then the group can be removed, and what the worker says after all changes nothing in the next one."""
    queue.publish_many([4, 5])
    leases, worker_id = queue._opened().coordinator.leases, new_id()
    taken = leases.exchange("billing", worker_id, None, Want(2, 5, 0.3, 9))

    wait_until(lambda: is_removed(queue))
    leases.begin("billing", 4)
    again = leases.exchange("billing", worker_id, None, Want(2, 5, 60.0, 9))
    assert [each[:2] for each in again.leases] == [(4, 5)]
    assert again.leases[0].token > taken.leases[0].token
    leases.exchange("billing", worker_id, Settlement(done=taken.leases), None)
    assert queue.groups()[0].leased == 2


def test_a_worker_that_is_left_gets_nothing_and_its_late_results_are_stale(queue: Queue, wait_until: Wait) -> None:
    """The group does not come back by itself; the worker goes on once somebody has made it anew."""
    leases, worker_id = queue._opened().coordinator.leases, new_id()
    queue.publish_many([4, 5])
    taken = leases.exchange("billing", worker_id, None, Want(2, 5, 0.05, 9))

    wait_until(lambda: is_removed(queue))
    token = taken.leases[0].token
    (old,) = queue.search_results(event_id__eq=1).items
    late = type(old)(new_id(), 4, worker_id, True, "late", old.created_at, group="billing", attempt=1, token=token)
    settlement = Settlement(done=taken.leases, results=[late])
    assert leases.exchange("billing", worker_id, settlement, Want(2, 5, 60.0, 9)).leases == []
    assert queue.groups() == []
    assert [each.stale for each in queue.search_results(event_id__eq=4).items] == [True]
    leases.begin("billing", 5)
    assert [each[:2] for each in leases.exchange("billing", worker_id, None, Want(2, 5, 60.0, 9)).leases] == [(5, 5)]
