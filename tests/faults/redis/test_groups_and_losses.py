"""A group whose workers are killed, whose server is lost, and whose roots are cut off: its place is kept."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import FileEventQueue, StorageError
from eventy_sync.redis.link import Script
from eventy_sync.redis.server import RedisServer
from eventy_sync.storage.state import Settlement
from tests.faults.redis.groups import Crew, Hand, dismiss, has_once
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Queue, Spawn, Wait, impatient, publish_when_possible, wait_for_mode

KILLS = int(os.environ.get("EVENTY_TEST_KILLS", "3"))
EVENTS = 400
EXCHANGE = Script("exchange").sha


@pytest.fixture
def crew(tmp_path: Path, server: RedisServer, spawn_python: Spawn) -> Crew:
    """Workers of the group "work"."""
    return Crew(tmp_path, server.url, spawn_python)


class Gate:
    """A handler that waits inside the events it is told to, and notes all that it has handled."""

    def __init__(self, *held: int) -> None:
        self._held, self.begun, self.handled = set(held), [], []  # type: ignore[var-annotated]
        self.is_open = threading.Event()

    def __call__(self, event: Any) -> None:
        self.begun.append(event.id)
        if event.id in self._held:
            assert self.is_open.wait(30)
        self.handled.append(event.id)


def publish_events(queue: Queue, count: int) -> None:
    for start in range(0, count, 50):
        queue.publish_many([{}] * min(50, count - start))


@pytest.mark.parametrize("loses", [False, True])
def test_workers_that_are_killed_at_random(
    make: Make, crew: Crew, server: RedisServer, wait_until: Wait, loses: bool
) -> None:
    """Each event is handled at least once and has exactly one fresh success, also where the server comes back empty."""
    randomly, pause = random.Random(), threading.Event()
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: None)
        publish_events(a, EVENTS)
        for kill in range(KILLS):
            victims = [crew.hire(root, 0.5, 0.002) for root in "aab"]
            pause.wait(randomly.uniform(0.0, 0.3))
            for victim in victims:
                pause.wait(randomly.uniform(0.0, 0.05))
                victim.kill()
                if loses and victim is victims[1]:
                    server.kill()
                    server.start()
            if loses:
                publish_when_possible(a, {}, wait_until)
            else:
                a.publish({"kill": kill})
        workers = [crew.hire(root, 0.5) for root in "ab"]
        for queue in (a, b):
            wait_until(has_once(queue, EVENTS + KILLS), 60)
        assert set(crew.begun()) == set(range(1, EVENTS + KILLS + 1))
        for worker in workers:
            dismiss(worker)
        assert [each.lag for each in a.groups()] == [0]


def test_a_reply_that_is_lost_is_asked_for_again(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """What was settled is, and fresh; what was leased is handled, on its first attempt, without waiting for its end."""
    seen: list[int] = []
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        a.subscribe(lambda event: seen.append(event.id), group="work", from_index=1, max_attempts=1)
        b.subscribe(lambda event: None)
        wait_until(lambda: a.groups())
        for number in range(1, 21):
            proxy.lose_reply(EXCHANGE)
            publish_when_possible(b, {}, wait_until)
            wait_until(lambda number=number: len(seen) == number)
        assert seen == list(range(1, 21))
        for queue in (a, b):
            wait_until(has_once(queue, 20))
        assert b.groups()[0].dead == b.groups()[0].leased == 0
        assert proxy.struck.count("lose reply") >= 19


@pytest.fixture
def hand(make: Make, proxy: Proxy, wait_until: Wait) -> Iterator[tuple[Hand, Queue, Queue]]:
    """A hand on the root a, which gives a reply up soon, and both roots; three events are there."""
    with make("a", redis_url=impatient(proxy.url)) as a, make("b") as b:
        b.subscribe(lambda event: None)
        a.publish_many([{}] * 3)
        yield Hand(a, wait_until), a, b


def test_what_was_leased_in_a_reply_that_never_came_goes_back(hand: tuple[Hand, Queue, Queue], proxy: Proxy) -> None:
    """Uncounted, with the next request, long before it would run out."""
    worker, _, b = hand
    proxy.keep_reply(EXCHANGE)
    worker.ask_in_vain()
    assert [each[:3] for each in worker.ask()] == [(1, 3, 1)]
    assert b.groups()[0].leased == 3


def test_what_was_settled_in_a_request_without_reply_is_fresh(
    hand: tuple[Hand, Queue, Queue], proxy: Proxy, wait_until: Wait
) -> None:
    """It is settled once more, under a token that is gone by then; on all roots the first one counts."""
    worker, a, b = hand
    settlement = worker.success(*worker.ask())
    proxy.keep_reply(EXCHANGE)
    worker.ask_in_vain(settlement)
    assert worker.ask(settlement) == []
    a.subscribe(lambda event: None)
    for queue in (a, b):
        wait_until(has_once(queue, 3))
        assert not any(each.stale for each in queue.search_results().items)


def test_what_was_settled_before_the_disk_refused_is_fresh(
    hand: tuple[Hand, Queue, Queue], monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """The server has taken it; so it is when the worker settles it once more, and what was leased goes back."""
    worker, a, b = hand
    settlement = worker.success(*worker.ask())
    a.publish({})

    def refuse(*arguments: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(a._opened().store.mirror, "keep", refuse)
        with pytest.raises(StorageError):
            worker.ask(settlement)
    assert [each[:3] for each in worker.ask(settlement)] == [(4, 4, 1)]
    a.subscribe(lambda event: None)
    for queue in (a, b):
        wait_until(has_once(queue, 3))
        assert not any(each.stale for each in queue.search_results().items)


def test_a_request_that_is_served_late_gives_nothing_away(hand: tuple[Hand, Queue, Queue], proxy: Proxy) -> None:
    """Its worker has gone on without it: it changes nothing."""
    worker, _, b = hand
    proxy.hold_request(EXCHANGE)
    worker.ask_in_vain()
    worker.ask(Settlement(returned=worker.ask()), wants=False)
    assert b.groups()[0].leased == 0
    proxy.deliver()
    assert b.groups()[0].leased == 0
    assert [each[:3] for each in worker.ask()] == [(1, 3, 1)]


def test_a_root_that_is_alone_goes_on_without_the_server_and_keeps_its_place(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Before, meanwhile and afterwards each event is handled once, whatever the server has kept."""
    gate = Gate()
    with make("a") as a:
        a.subscribe(gate, group="work", from_index=1)
        publish_events(a, 100)
        wait_until(lambda: len(gate.handled) == 100)
        server.stop()
        wait_for_mode_by_publishing(a, "degraded", wait_until)
        publish_events(a, 100)
        tail = a.health()["tail"]
        wait_until(lambda: len(gate.handled) == tail)
        assert a.wait_until_idle(10)
        server.start()
        wait_for_mode(a, "connected", wait_until)
        publish_events(a, 100)
        wait_until(has_once(a, tail + 100))
        assert gate.begun == list(range(1, tail + 101))
        assert (a.groups()[0].next_id, a.groups()[0].lag) == (tail + 101, 0)


def wait_for_mode_by_publishing(queue: Queue, mode: str, wait_until: Wait) -> None:
    wait_until(lambda: queue.publish({}) and queue.health()["mode"] == mode)


def test_a_root_that_was_alone_brings_its_place_to_a_server_that_has_lost_nothing(
    make: Make, proxy: Proxy, wait_until: Wait
) -> None:
    """What was handled without it is not handed out again."""
    gate = Gate()
    with make("a", redis_url=proxy.url) as a:
        a.subscribe(gate, group="work", from_index=1, max_attempts=2, backoff=0.01)
        publish_events(a, 50)
        wait_until(lambda: len(gate.handled) == 50)
        proxy.refuse()
        wait_for_mode_by_publishing(a, "degraded", wait_until)
        publish_events(a, 50)
        tail = a.health()["tail"]
        wait_until(lambda: len(gate.handled) == tail)
        proxy.accept()
        wait_for_mode(a, "connected", wait_until)
        a.publish({})
        wait_until(has_once(a, tail + 1))
        assert gate.begun == list(range(1, tail + 2))


def test_a_root_that_knows_of_others_waits_for_the_server(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """It hands nothing out meanwhile; what its handler finishes is settled afterwards, and fresh."""
    gate = Gate(1)
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        b.subscribe(lambda event: None)
        a.subscribe(gate, group="work", from_index=1)
        b.publish({})
        wait_until(lambda: gate.begun == [1])
        b.publish({})
        wait_until(lambda: a.health()["tail"] == 2 and a.health()["other_roots"] == 1)
        proxy.refuse()
        wait_for_mode(a, "degraded", wait_until)
        gate.is_open.set()
        wait_until(lambda: gate.handled == [1])
        assert not a.wait_until_idle(1.5)
        assert gate.begun == [1]
        proxy.accept()
        wait_until(lambda: gate.handled == [1, 2])
        for queue in (a, b):
            wait_until(has_once(queue, 2))


@pytest.mark.parametrize("restarts", [False, True])
def test_a_server_that_has_lost_everything_leaves_each_event_to_its_worker(
    make: Make, server: RedisServer, wait_until: Wait, restarts: bool
) -> None:
    """What is being handled is not handed out again, what was acknowledged is not handled again, and tokens grow."""
    gates = Gate(101), Gate(101)
    with make("a") as a, make("b") as b:
        queues = a, b
        for queue, gate in zip(queues, gates, strict=True):
            queue.subscribe(gate, group="work", from_index=1)
        publish_events(a, 100)
        for queue in queues:
            wait_until(has_once(queue, 100))
        a.publish({})
        wait_until(lambda: 101 in gates[0].begun + gates[1].begun)
        if restarts:
            server.kill()
            server.start()
        else:
            server.command("FLUSHALL")
        publish_when_possible(b, {}, wait_until)
        tail = b.health()["tail"]
        wait_until(lambda: tail in gates[0].handled + gates[1].handled)
        wait_until(lambda: [info.leased for info in a.groups()] == [1])
        for gate in gates:
            gate.is_open.set()
        for queue in queues:
            wait_until(has_once(queue, tail))
        assert Counter(gates[0].begun + gates[1].begun) == Counter(range(1, tail + 1))
        results = a.search_results(limit=1000).items
        assert max(each.token or 0 for each in results if each.event_id < 101) < min(
            each.token or 0 for each in results if each.event_id > 101
        )


def test_waiting_and_dead_events_are_still_so_after_a_loss(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """With their attempts; the one is tried again when it is due, the other when somebody says so."""
    attempts = Counter[int]()

    def fail(event: Any) -> None:
        attempts[event.id] += 1
        raise ValueError("again")

    with make("a") as a, make("b") as b:
        a.subscribe(fail, group="work", from_index=1, max_attempts=2, backoff=2.0)
        b.subscribe(lambda event: None)
        a.publish({})
        wait_until(lambda: a.groups()[0].dead == 1)
        a.publish({})
        wait_until(lambda: attempts == {1: 2, 2: 1} and a.groups()[0].waiting == 1)
        server.command("FLUSHALL")
        publish_when_possible(b, {}, wait_until)
        wait_until(lambda: attempts[2] == 2 and attempts[3] == 2)
        assert attempts == {1: 2, 2: 2, 3: 2}
        wait_until(lambda: a.groups()[0].dead == 3)
        assert b.requeue("work", [1]) == 1
        wait_until(lambda: attempts[1] == 4)


def test_a_group_that_is_declared_while_the_server_is_away_begins_when_it_is_back(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Opening does not fail, and the group begins where it would have."""
    with make("a") as a, make("b") as b:
        a.publish({})
        wait_until(lambda: b.count_events() == 1)
    server.stop()
    seen: list[int] = []
    a, b = make("a"), make("b")
    a.subscriber(lambda event: seen.append(event.id), group="work", from_index=1)
    with a, b:
        b.subscribe(lambda event: None)
        assert a.health()["mode"] == "degraded"
        assert not a.wait_until_idle(0.2)
        server.start()
        wait_until(lambda: seen == [1])


def test_a_file_queue_with_groups_that_joins_others_keeps_their_places(
    make: Make, tmp_path: Path, wait_until: Wait
) -> None:
    """What was finished is not handed out again, what was not is."""
    seen: list[int] = []
    file_queue: FileEventQueue[Any] = FileEventQueue(tmp_path / "a", name="orders", payload_type=dict)
    with file_queue:
        file_queue.subscribe(lambda event: seen.append(event.id), group="work")
        file_queue.publish_many([{}] * 50)
        assert file_queue.wait_until_idle(10)
        file_queue.pause_group("work")
        file_queue.publish_many([{}] * 10)
    with make("a") as a, make("b", resync=True) as b:
        b.subscribe(lambda event: seen.append(event.id), group="work")
        assert (b.groups()[0].lag, b.groups()[0].paused) == (10, True)
        b.resume_group("work")
        a.subscribe(lambda event: seen.append(event.id), group="work")
        wait_until(lambda: len(seen) == 60)
        assert sorted(seen) == list(range(1, 61))


def test_two_processes_of_a_root_of_which_one_is_cut_off(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """The one gives leases from the state store, the other gets them from the server, and no event is handled twice."""
    gates = Gate(), Gate()
    with make("a", redis_url=proxy.url) as cut_off, make("a") as connected:
        for queue, gate in zip((cut_off, connected), gates, strict=True):
            queue.subscribe(gate, group="work", from_index=1)
        connected.publish({})
        wait_until(lambda: gates[0].handled + gates[1].handled == [1])
        proxy.refuse()
        wait_for_mode(cut_off, "degraded", wait_until)
        pause = threading.Event()
        for _ in range(60):
            connected.publish_many([{}] * 5)
            pause.wait(0.02)
        tail = connected.health()["tail"]
        wait_until(lambda: len(gates[0].handled + gates[1].handled) >= tail)
        proxy.accept()
        wait_for_mode(cut_off, "connected", wait_until)
        wait_until(has_once(connected, tail))
        assert Counter(gates[0].begun + gates[1].begun) == Counter(range(1, tail + 1))
        assert gates[0].begun
        assert gates[1].begun
