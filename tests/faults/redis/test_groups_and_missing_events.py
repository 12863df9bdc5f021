"""A group whose roots have not all got all events: what one lacks is left to others, as long as any may have it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from eventy_sync import Retention
from eventy_sync.redis.server import RedisServer
from eventy_sync.storage.state import Lease, Settlement, Taken, Want
from tests.faults.redis.groups import has_once
from tests.faults.redis.queues import Make, Queue, Wait, publish_when_possible

EVENTS = 12_000


def publish_before_anybody_works(queue: Queue) -> None:
    """Let the queue have events, and a group that has begun before them."""
    queue._opened().coordinator.leases.begin("work", 1)
    for _ in range(EVENTS // 1000):
        queue.publish_many([{}] * 1000)


def late(make: Make, queue: Queue) -> Queue:
    """Return another root, to be opened, which has none of the events that the first one has."""
    publish_before_anybody_works(queue)
    return make("b")


def failures(queue: Queue) -> list[str]:
    """Return what the group's failed results say on this root."""
    return [each.details or "" for each in queue.search_results(success__eq=False).items]


def test_a_root_that_came_late_leaves_older_events_to_the_others(make: Make, wait_until: Wait) -> None:
    """It goes on with what it has, at once; the others handle the rest whenever they take part."""
    here: list[int] = []
    there: list[int] = []
    with make("a") as a, late(make, a) as b:
        b.subscribe(lambda event: there.append(event.id), group="work")
        b.publish_many([{}] * 3)
        wait_until(lambda: there == [EVENTS + 1, EVENTS + 2, EVENTS + 3])
        wait_until(lambda: b.groups()[0].leased == 0)
        info = b.groups()[0]
        assert (info.lag, info.waiting, info.next_id) == (EVENTS, EVENTS, EVENTS + 4)
        assert b._opened().coordinator.leases.oldest_unfinished() == 1  # retention keeps them
        assert not b.wait_until_idle(0.1)
        a.subscribe(lambda event: here.append(event.id), group="work")
        assert a.wait_until_idle(20)
        wait_until(has_once(b, EVENTS + 3))
        assert Counter(here + there) == Counter(range(1, EVENTS + 4))
        assert failures(b) == []


def test_another_attempt_is_left_to_who_has_the_event(make: Make, wait_until: Wait) -> None:
    """However often the root that has not got it asks."""
    attempts = Counter[int]()

    def fail_once(event: Any) -> None:
        attempts[event.id] += 1
        if attempts[event.id] == 1:
            raise ValueError("again")

    with make("a") as a:
        a.subscribe(fail_once, group="work", from_index=1, backoff=0.5)
        a.publish_many([{}] * 20)
        wait_until(lambda: len(attempts) == 20)
        with make("b") as b:
            b.subscribe(lambda event: None, group="work", concurrency=4)
            wait_until(has_once(a, 20))
            assert attempts == dict.fromkeys(range(1, 21), 2)
            assert {each.splitlines()[-1] for each in failures(a)} == {"ValueError: again"}


def test_what_was_left_stays_so_when_the_server_loses_everything(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """As a range, however many events, and each is handled once."""
    seen: list[int] = []
    with make("a") as a, late(make, a) as b:
        b.subscribe(lambda event: seen.append(event.id), group="work")
        b.publish({})
        a.subscribe(lambda event: None)
        wait_until(lambda: seen == [EVENTS + 1] and a.health()["other_roots"] == 1)
        server.command("FLUSHALL")
        publish_when_possible(a, {}, wait_until)
        tail = a.health()["tail"]
        wait_until(lambda: tail in seen)
        assert server.command("ZCARD", "eventy:orders:group:work:waiting") == 0
        wait_until(lambda: b.groups()[0].lag == EVENTS)
        a.subscribe(lambda event: seen.append(event.id), group="work")
        wait_until(has_once(b, tail))
        assert Counter(seen) == Counter(range(1, tail + 1))


def test_what_no_root_has_any_more_is_lost_and_told_of_once(make: Make, wait_until: Wait) -> None:
    """Not while the root that has it is only closed; then the group goes on."""
    seen: list[int] = []
    a = make("a")
    with a, late(make, a) as b:
        b.subscribe(lambda event: seen.append(event.id), group="work")
        b.publish({})
        wait_until(lambda: seen == [EVENTS + 1])
        a.close()
        assert not b.wait_until_idle(1.5)
        assert b.groups()[0].lag == EVENTS
        assert b.forget_root(next(each.root_id for each in b.roots()))
        wait_until(lambda: b.groups()[0].lag == 0)
        assert b.wait_until_idle(10)
        (failure,) = failures(b)
        assert f"events 1 to {EVENTS}" in failure
        assert seen == [EVENTS + 1]


def test_events_that_were_dropped_are_handled_where_they_are_kept(make: Make, wait_until: Wait) -> None:
    """A root that has dropped what is unfinished leaves it; when all roots have, it is lost."""
    seen: list[int] = []
    terms = {"segment_bytes": 8192, "retention": Retention(max_events=200), "journal_length": 2 * EVENTS}
    with make("a", **terms) as a, make("b", resync=True, **terms) as b:
        publish_before_anybody_works(a)
        b.subscribe(lambda event: None)
        wait_until(lambda: b.count_events() == EVENTS)
        assert b.wait_until_idle(20)
        b.pause_group("work")
        assert a.apply_retention(force=True)
        oldest = a.stats()["oldest"]
        a.subscribe(lambda event: seen.append(event.id), group="work")
        a.resume_group("work")
        wait_until(lambda: set(seen) == set(range(oldest, EVENTS + 1)))
        assert failures(a) == []
        wait_until(lambda: a.groups()[0].lag == oldest - 1)  # the last ones are settled once their batch is full
        assert b.apply_retention(force=True)
        b.publish({})
        wait_until(lambda: a.groups()[0].lag == 0)
        assert a.wait_until_idle(10)
        (failure,) = failures(a)
        assert f"events 1 to {oldest - 1}" in failure
        wait_until(lambda: EVENTS + 1 in seen)
        assert len(seen) == len(set(seen))


def test_what_another_process_of_the_root_drops_meanwhile_is_left_too(make: Make, wait_until: Wait) -> None:
    """A worker that was leased it in good faith gives it back."""
    seen: list[int] = []
    terms = {"segment_bytes": 8192, "retention": Retention(max_events=200), "journal_length": 2 * EVENTS}
    with make("a", **terms) as a, make("a", **terms) as same_root, make("b", resync=True) as b:
        publish_before_anybody_works(a)
        b.subscribe(lambda event: None)
        wait_until(lambda: b.count_events() == EVENTS)
        assert a._opened().log.oldest() == 1
        assert same_root.apply_retention(force=True)
        assert a._opened().log.oldest() == 1  # it has not looked since
        a.subscribe(lambda event: seen.append(event.id), group="work")
        wait_until(lambda: EVENTS in seen)
        assert failures(a) == []
        b.subscribe(lambda event: seen.append(event.id), group="work")
        wait_until(has_once(b, EVENTS))
        assert Counter(seen) == Counter(range(1, EVENTS + 1))


def test_who_is_killed_while_it_passes_lost_events_over_leaves_them_as_they_were(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """They are one lease, and one range when it has run out or was given back: they may be millions."""
    with make("a") as a, late(make, a) as b:
        leases = b._opened().coordinator.leases
        leases.begin("work", 1)
        want = Want(1, EVENTS, 0.05, 5, EVENTS + 1)
        assert leases.exchange("work", b.worker_id, None, want) == Taken([], None)
        a.close()
        assert b.forget_root(next(each.root_id for each in b.roots()))

        def take_all() -> Lease:
            taken: list[Lease] = []
            wait_until(lambda: taken.extend(leases.exchange("work", b.worker_id, None, want).leases) or taken)
            (lease,) = taken
            assert lease[:3] == (1, EVENTS, 1)
            return lease

        take_all()
        lease = take_all()  # once the first one has run out
        leases.exchange("work", b.worker_id, Settlement(returned=[lease]), None)
        take_all()
        assert server.command("ZCARD", "eventy:orders:group:work:waiting") == 0


def test_what_waits_is_found_behind_any_number_of_events_for_other_roots(make: Make) -> None:
    """It was given back last, and is due last."""
    with make("a") as a, late(make, a) as b:
        here, there = (queue._opened().coordinator.leases for queue in (a, b))
        wants = Want(1000, EVENTS - 1, 60, 5)
        taken = [here.exchange("work", a.worker_id, None, wants).leases for _ in range(EVENTS // 1000)]
        here.exchange("work", a.worker_id, None, Want(1, EVENTS, 60, 5))
        here.exchange("work", a.worker_id, Settlement(returned=[lease for (lease,) in taken]), None)
        there.begin("work", 1)
        b.publish_many([{}] * 2)
        wants = Want(1, EVENTS + 2, 60, 5, EVENTS + 1)
        first, second = (there.exchange("work", b.worker_id, None, wants).leases[0] for _ in range(2))
        there.exchange("work", b.worker_id, Settlement(returned=[first]), None)
        assert (first[:2], second[:2]) == ((EVENTS + 1, EVENTS + 1), (EVENTS + 2, EVENTS + 2))
        assert b.groups()[0].waiting == EVENTS
        assert [each[:3] for each in there.exchange("work", b.worker_id, None, wants).leases] == [
            (EVENTS + 1, EVENTS + 1, 1)
        ]
