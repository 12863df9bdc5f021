"""A group on two roots: each event is handled by one worker, and all roots know what came of it."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from eventy_sync import CoordinationError, EventResult, GroupNotFoundError
from eventy_sync.redis.server import RedisServer
from eventy_sync.storage.state import Want
from tests.faults.redis.groups import Crew, dismiss, has_once
from tests.faults.redis.queues import Make, Queue, Spawn, Wait

EVENTS = 600


@pytest.fixture
def crew(tmp_path: Path, server: RedisServer, spawn_python: Spawn) -> Crew:
    """Workers of the group "work"."""
    return Crew(tmp_path, server.url, spawn_python)


def test_three_processes_on_two_roots_share_a_group(make: Make, crew: Crew, wait_until: Wait) -> None:
    """Each event is handled exactly once, and both roots have all results."""
    with make("a") as a, make("b") as b:
        workers = [crew.hire(root, event_seconds=0.002) for root in "aab"]
        for _ in range(EVENTS // 100):
            a.publish_many([{}] * 50)
            b.publish_many([{}] * 50)
        wait_until(lambda: len(crew.begun()) == EVENTS)
        for worker in workers:
            dismiss(worker)
        assert crew.begun() == Counter(range(1, EVENTS + 1))
        for queue in (a, b):
            queue.subscribe(lambda event: None)
            wait_until(has_once(queue, EVENTS))
            (info,) = queue.groups()
            assert (info.next_id, info.lag, info.leased, info.waiting) == (EVENTS + 1, 0, 0, 0)
        by_worker = Counter(each.worker_id for each in a.search_results(limit=1000).items)
        assert len(by_worker) == 3


def test_a_worker_frozen_past_its_lease_finds_its_result_stale(make: Make, crew: Crew, wait_until: Wait) -> None:
    """Another root's worker has the event by then; the late result is kept on both roots, marked."""
    with make("a") as a, make("b") as b:
        frozen = crew.hire("a", lease_seconds=0.5, event_seconds=0.3)
        a.publish({})
        wait_until(lambda: crew.begun() == {1: 1})
        frozen.send_signal(signal.SIGSTOP)
        b.subscribe(lambda event: "late shift", group="work", lease_seconds=0.5)
        wait_until(has_once(b, 1))
        frozen.send_signal(signal.SIGCONT)
        a.subscribe(lambda event: None)
        for queue in (a, b):
            wait_until(lambda queue=queue: queue.count_results(event_id__eq=1) >= 2)
            found = {(each.worker_id == b.worker_id, each.attempt, each.stale) for each in work_results(queue)}
            assert found == {(True, 2, False), (False, 1, True)}
        dismiss(frozen, may_say="lease lost while its handler runs: group=work\n")


def work_results(queue: Queue) -> list[EventResult]:
    """Return what this root has of the group's results."""
    return [each for each in queue.search_results().items if each.group == "work"]


def test_a_result_of_a_group_is_known_to_the_root_that_waits_for_it(make: Make) -> None:
    """It need not handle anything itself, but listen."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: f"handled {event.id}", group="work")
        b.subscribe(lambda event: None, group="another", from_index=1)
        b.pause_group("another")
        event = b.publish({})
        result = b.wait_for_result(event.id, timeout=10)
        assert (result.group, result.details, result.worker_id) == ("work", "handled 1", a.worker_id)


def test_dead_letters_are_seen_and_requeued_from_another_root(make: Make, wait_until: Wait) -> None:
    """With their details; and requeued by two roots, each is handled once more only."""
    failing, seen = threading.Event(), Counter[int]()
    failing.set()

    def handle(event: object) -> None:
        seen[event.id] += 1  # type: ignore[attr-defined]
        if failing.is_set():
            raise ValueError("no more paper")

    with make("a") as a, make("b") as b:
        a.subscribe(handle, group="work", max_attempts=2, backoff=0.01)
        b.subscribe(lambda event: None)
        b.publish_many([{}] * 3)
        wait_until(lambda: len(b.dead_letters("work").items) == 3)
        letters = b.dead_letters("work").items
        assert [(each.event_id, each.attempts, each.worker_id) for each in letters] == [
            (number, 2, a.worker_id) for number in (1, 2, 3)
        ]
        assert all("no more paper" in each.details for each in letters)
        assert [each.dead for each in (*a.groups(), *b.groups())] == [3, 3]
        failing.clear()
        assert b.requeue("work", [2, 77]) == 1
        wait_until(lambda: seen[2] == 3)
        assert sorted([a.requeue("work"), b.requeue("work")]) == [0, 2]
        wait_until(lambda: seen == {1: 3, 2: 3, 3: 3})
        for queue in (a, b):
            wait_until(has_once(queue, 3))
            wait_until(lambda queue=queue: queue.dead_letters("work").items == [])
        assert [(each.lag, each.dead) for each in (*a.groups(), *b.groups())] == [(0, 0), (0, 0)]


def test_an_event_that_kills_its_worker_on_the_last_attempt_is_dead_on_all_roots(
    make: Make, crew: Crew, wait_until: Wait
) -> None:
    """Its lease runs out; the next worker declares it dead, in the name of the one that died."""
    with make("a") as a, make("b") as b:
        victim = crew.hire("a", lease_seconds=0.3, event_seconds=60)
        a.publish({})
        wait_until(lambda: crew.begun() == {1: 1})
        victim.kill()
        handled: list[int] = []
        b.subscribe(lambda event: handled.append(event.id), group="work", max_attempts=1, lease_seconds=0.3)
        a.subscribe(lambda event: None)
        for queue in (a, b):
            wait_until(lambda queue=queue: queue.dead_letters("work").items)
            (letter,) = queue.dead_letters("work").items
            assert (letter.event_id, letter.attempts) == (1, 1)
            assert letter.worker_id not in (a.worker_id, b.worker_id)
            wait_until(lambda queue=queue: [each.success for each in work_results(queue)] == [False])
        assert handled == []
        assert b.groups()[0].leased == 0


def test_a_pause_holds_the_workers_of_all_roots(make: Make, wait_until: Wait) -> None:
    """Nothing is handed out on either until the group goes on, whoever says so."""
    seen: list[int] = []
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: seen.append(event.id), group="work")
        b.subscribe(lambda event: seen.append(event.id), group="work")
        a.publish({})
        wait_until(lambda: seen == [1])
        b.pause_group("work")
        wait_until(lambda: a.health()["tail"] == b.health()["tail"])
        a.publish({})
        assert a.groups()[0].paused
        assert not a.wait_until_idle(1.5)
        assert seen == [1]
        a.resume_group("work")
        wait_until(lambda: seen == [1, 2])
        assert not b.groups()[0].paused


def test_a_group_that_nobody_knows(make: Make) -> None:
    """Is not to be paused or requeued, and has no dead letters."""
    with make("a") as a:
        for use in (a.pause_group, a.resume_group, a.requeue, a.dead_letters):
            with pytest.raises(GroupNotFoundError):
                use("nobody")


def test_a_new_root_knows_what_was_finished(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """After the server has lost everything, and the other root is gone for good, nothing is handled again."""
    seen: list[int] = []
    with make("a") as a:
        a.subscribe(lambda event: seen.append(event.id), group="work", from_index=1)
        a.publish_many([{}] * 100)
        wait_until(lambda: len(seen) == 100)
        with make("b", resync=True) as b:
            b.subscribe(lambda event: seen.append(event.id), group="work", from_index=1)
            wait_until(lambda: b.groups()[0].lag == 0)
            b.publish({})
            wait_until(lambda: len(seen) == 101)
            a.close()
            server.command("FLUSHALL")
            assert b.forget_root(next(each.root_id for each in b.roots()))
            b.publish({})
            assert b.wait_until_idle(10)
    assert sorted(seen) == list(range(1, len(seen) + 1))


def test_the_oldest_unfinished_event_is_known_where_nobody_takes_part(make: Make, wait_until: Wait) -> None:
    """Retention asks for it on every root, also without the server."""
    with make("a") as a, make("b") as b:
        oldest = b._opened().coordinator.leases.oldest_unfinished
        a.subscribe(lambda event: None, group="work", from_index=1)
        b.subscribe(lambda event: None)
        wait_until(lambda: oldest() == 1)
        b.publish_many([{}] * 10)
        wait_until(lambda: oldest() == 11)
        a.pause_group("work")
        b.publish({})
        assert oldest() == 11
        wait_until(lambda: b.count_results() >= 20)
        b._opened().coordinator.degrade(CoordinationError("as if Redis were away"))  # type: ignore[attr-defined]
        assert oldest() == 11


def test_a_worker_is_never_given_what_its_root_has_not_got(make: Make, wait_until: Wait) -> None:
    """The rest is for others, who have it."""
    with make("a") as a, make("b") as b:
        a.publish_many([{}] * 10)
        leases = a._opened().coordinator.leases
        leases.begin("work", 1)
        assert [each[:2] for each in leases.exchange("work", a.worker_id, None, Want(100, 4, 60, 5)).leases] == [(1, 4)]
        there = b._opened().coordinator.leases
        there.begin("work", 1)
        assert [each[:2] for each in there.exchange("work", b.worker_id, None, Want(100, 10, 60, 5)).leases] == [
            (5, 10)
        ]


def test_a_reset_forgets_what_a_group_has_not_finished(make: Make, wait_until: Wait) -> None:
    """On all roots: leased, waiting, dead and fresh events are gone, and the group goes on with what comes."""
    seen: list[int] = []

    def handle(event: object) -> None:
        seen.append(event.id)  # type: ignore[attr-defined]
        if event.id < 4:  # type: ignore[attr-defined]
            raise ValueError("no")

    with make("a") as a, make("b") as b:
        a.subscribe(handle, group="work", max_attempts=2, backoff=0.01)
        a.publish({})
        wait_until(lambda: a.groups()[0].dead == 1)
        a.pause_group("work")
        b.publish_many([{}] * 10)
        wait_until(lambda: a.groups()[0].lag == 10)
        a.reset()
        wait_until(lambda: a.publish({}) and a.groups()[0].dead == 0)
        a.resume_group("work")
        tail = a.health()["tail"]
        wait_until(lambda: tail in seen)
        assert [each for each in seen if 1 < each < 12] == []
        assert b.groups()[0].lag == 0


def test_nothing_is_handed_out_until_every_root_has_said_what_its_workers_have(
    make: Make, crew: Crew, server: RedisServer, wait_until: Wait
) -> None:
    """After the server has lost everything: a root that is silent for a moment may be handling an event."""
    with make("a") as a:
        silent = crew.hire("b", event_seconds=2.0)
        wait_until(lambda: a.publish({}) and a.health()["other_roots"] == 1)
        tail = a.health()["tail"]
        wait_until(lambda: crew.begun()[1] == 1)
        silent.send_signal(signal.SIGSTOP)
        server.command("FLUSHALL")
        handled: list[int] = []
        a.subscribe(lambda event: handled.append(event.id), group="work", from_index=1)
        assert not a.wait_until_idle(1.5)
        assert handled == []
        silent.send_signal(signal.SIGCONT)
        wait_until(has_once(a, tail))
        assert crew.begun() + Counter(handled) == Counter(range(1, tail + 1))
        dismiss(silent)
