"""Keys of events among roots of one queue: whatever the server forgets or the network loses, one event for each key."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from eventy_sync import EventExpiredError
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Queue, Spawn, Wait, log_bytes, publish_when_possible, wait_for_mode

PUBLISH = "add_event"

RACER = """
    import sys
    from eventy_sync.redis import RedisFileEventQueue

    with RedisFileEventQueue(sys.argv[1], payload_type=dict, name="orders", redis_url=sys.argv[2]) as queue:
        print("ready", flush=True)
        sys.stdin.readline()
        print(*(queue.publish({"by": sys.argv[1]}, key=f"k{n}").id for n in range(50)), flush=True)
"""


def keyed(queue: Queue) -> dict[int, str]:
    """Return the keys of all events that have one."""
    return {event.id: event.key for event in queue.iter_events(queue.stats()["oldest"]) if event.key is not None}


def test_processes_of_two_roots_that_race_publish_each_key_once(
    tmp_path: Path, server: RedisServer, make: Make, spawn_python: Spawn, wait_until: Wait
) -> None:
    """Eight of them; each is told the same events, and both logs are the same."""
    with make("a") as a, make("b", resync=True) as b:
        racers: list[subprocess.Popen[str]] = [
            spawn_python(RACER, tmp_path / "ab"[number % 2], server.url) for number in range(8)
        ]
        for each in racers:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in racers:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        told = []
        for each in racers:
            output, errors = each.communicate(timeout=60)
            assert errors == ""
            told.append(output.split())
        assert len(told[0]) == 50
        assert all(each == told[0] for each in told)
        wait_until(lambda: a.count_events() == b.count_events() == 50)
        assert keyed(a) == keyed(b) == {int(number): f"k{n}" for n, number in enumerate(told[0])}
        assert log_bytes(a) == log_bytes(b)


def test_a_key_of_another_root_brings_its_event_though_it_is_not_here_yet(make: Make) -> None:
    """Neither of the roots listens, so nothing has told this one of it."""
    with make("a") as a, make("b") as b:
        a.publish({"n": 0})
        first = a.publish({"n": 1}, key="order-7")
        assert b.publish({"n": 2}, key="order-7") == first
        assert [event.id for event in b.iter_events()] == [1, 2]
        assert a.publish({"n": 3}, key="order-7") == first
        assert a.count_events() == b.count_events() == 2


def test_a_delay_and_a_key_travel_to_all_roots(make: Make, wait_until: Wait) -> None:
    """By the journal, and by resync to a root that is made later; each handed out there when it is due."""
    with make("a") as a, make("b") as b:
        seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
        a.subscribe(lambda event: seen["a"].append(event.id), from_index=1)
        b.subscribe(lambda event: seen["b"].append(event.id), from_index=1)
        late = a.publish({"n": 1}, key="order-7", delay_seconds=1.5)
        now = b.publish({"n": 2})
        wait_until(lambda: seen["a"] == seen["b"] == [now.id])
        with make("c", resync=True) as c:
            c.subscribe(lambda event: seen["c"].append(event.id), from_index=1)
            wait_until(lambda: all(each == [now.id, late.id] for each in seen.values()))
            assert a.get_event(late.id) == b.get_event(late.id) == c.get_event(late.id) == late
            assert log_bytes(a) == log_bytes(b) == log_bytes(c)
            assert c.publish({"n": 3}, key="order-7") == late


def test_a_root_whose_last_event_has_marks_joins_again(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """What it puts into the journal, or compares with it, is what was published, byte for byte."""
    with make("b") as b:
        with make("a") as a:
            first = a.publish({"n": 1}, key="order-7", delay_seconds=3600)
            server.command("FLUSHALL")
            publish_when_possible(a, {"n": 2}, wait_until, b)
            last = a.publish({"n": 3}, key="order-8", delay_seconds=3600)
        with make("a") as a:
            assert a.health()["mode"] == "connected"
            assert a.publish({"n": 4}, key="order-7") == first
            assert b.publish({"n": 4}, key="order-8") == last
            wait_until(lambda: a.count_events() == b.count_events() == 3)
            assert log_bytes(a) == log_bytes(b)


def test_a_keyed_publish_whose_reply_is_lost_brings_the_same_event(
    make: Make, proxy: Proxy, server: RedisServer
) -> None:
    """When it made the event, and when it said that there is one."""
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        a.publish({"n": 0})
        for number in range(1, 11):
            proxy.lose_reply(PUBLISH)
            first = a.publish({"n": number}, key=f"k{number}")
            assert (first.id, first.payload) == (2 * number, {"n": number})
            other = b.publish({"n": -number}, key=f"b{number}")
            proxy.lose_reply(PUBLISH)
            assert a.publish({"n": 0}, key=f"b{number}") == other
            assert b.publish({"n": 0}, key=f"k{number}") == first
        assert proxy.struck == ["lose reply"] * 20
        assert a.count_events() == b.count_events() == 21


def test_a_server_that_has_forgotten_everything_knows_the_keys_again(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """From the roots' logs: the root that publishes next need not be the one that did."""
    with make("a") as a, make("b") as b:
        b.subscribe(lambda event: None)
        first = a.publish({"n": 1}, key="order-7")
        last = a.publish({"n": 2}, key="order-8")
        wait_until(lambda: b.count_events() == 2)
        server.command("FLUSHALL")
        publish_when_possible(a, {"n": 3}, wait_until, b)
        assert b.publish({"n": 4}, key="order-7") == first
        assert a.publish({"n": 4}, key="order-8") == last
        assert a.count_events() == 3


def test_a_key_is_found_in_the_journal_when_its_entry_is_lost(make: Make, server: RedisServer) -> None:
    """By a root that has not got the event yet; and what is far back is looked for in the log when it has."""
    with make("a") as a, make("b") as b:
        b.publish({"n": 0})
        first = a.publish({"n": 1}, key="order-7")
        server.command("DEL", "eventy:orders:key:order-7")
        assert b.publish({"n": 2}, key="order-7") == first
        far = a.publish({"n": 3}, key="order-8")
        a.publish_many([{"n": 4}] * 300)
        server.command("DEL", "eventy:orders:key:order-8")
        assert b.publish({"n": 5}, key="order-8") == far
        assert a.count_events() == 303


@pytest.mark.parametrize("told", ["1", "2", "77", "0", "-3", "1e3", "many", "99999999999999999999999"])
def test_what_the_server_says_of_a_key_counts_only_if_the_event_has_it(
    make: Make, server: RedisServer, told: str
) -> None:
    """An older state of the server, or somebody else, has put another event there, or none, or no event at all."""
    with make("a") as a, make("b") as b:
        a.publish({"n": 1})
        a.publish({"n": 2}, key="other")
        server.command("SET", "eventy:orders:key:order-7", told)
        first = a.publish({"n": 3}, key="order-7")
        assert first.id == 3
        assert b.publish({"n": 4}, key="order-7") == first
        assert b.publish({"n": 4}, key="other").id == 2


def test_a_root_that_is_alone_without_the_server_keeps_to_its_keys(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Those from before, and those from then when the server is back."""
    with make("a") as a:
        before = a.publish({"n": 1}, key="before")
        server.stop()
        assert a.publish({"n": 2}, key="before") == before
        then = a.publish({"n": 3}, key="then")
        assert a.publish({"n": 4}, key="then") == then
        server.start()
        wait_for_mode(a, "connected", wait_until)
        assert a.publish({"n": 5}, key="then") == then
        assert a.publish({"n": 5}, key="before") == before
        assert a.count_events() == 2


def test_a_root_that_joined_later_is_told_of_an_event_that_it_has_never_had(make: Make, server: RedisServer) -> None:
    """With what the journal has of it; when that is gone, by an error that names it, and nothing is published."""
    with make("a", journal_length=1) as a:
        first = a.publish({"n": 1}, key="order-7")
        with make("b") as b:
            assert b.stats()["oldest"] == 2
            assert b.publish({"n": 2}, key="order-7") == first
            server.command("XTRIM", "eventy:orders:journal", "MAXLEN", 0)
            with pytest.raises(EventExpiredError, match="this key has event 1 already"):
                b.publish({"n": 2}, key="order-7")
            assert a.publish({"n": 3}, key="order-7") == first
            assert a.count_events() == 1


def test_threads_of_two_roots_publish_with_keys_and_without(make: Make, wait_until: Wait) -> None:
    """While others are ahead of each of them all the time."""
    with make("a") as a, make("b") as b:
        told: list[list[int]] = [[] for _ in range(4)]

        def publish(number: int, queue: Queue) -> None:
            for n in range(30):
                told[number].append(queue.publish({"n": n}, key=f"k{n}").id)
                queue.publish_many([{"n": n}] * 3)

        threads = [threading.Thread(target=publish, args=(n, (a, b)[n % 2])) for n in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert all(each == told[0] for each in told)
        wait_until(lambda: a.count_events() == b.count_events() == 30 + 4 * 30 * 3)
        assert keyed(a) == keyed(b)
        assert log_bytes(a) == log_bytes(b)
