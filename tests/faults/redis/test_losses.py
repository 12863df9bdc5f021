"""A server that lost what it knew: the disk wins."""

from __future__ import annotations

import threading
import time

import pytest
import redis.lock

from eventy_sync import CoordinationError
from eventy_sync.redis.numbering import AWAIT_SECONDS
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import (
    Make,
    Queue,
    Wait,
    is_granted,
    log_bytes,
    numbers,
    outcome,
    publish_when_possible,
    settle,
)


@pytest.mark.parametrize(
    "loss", ["restart", "flushall", "next_event_id", "journal", "meta", "roots", "workers", "changes", "scripts"]
)
def test_a_server_that_forgot_everything_is_told(make: Make, server: RedisServer, wait_until: Wait, loss: str) -> None:
    """Two roots that live go on where they were: no id twice, no event lost, equal logs."""
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        a.subscribe(lambda event: seen.append(event.id))
        b.subscribe(lambda event: None)
        for number in range(20):
            (a if number % 2 else b).publish({"n": number})
        assert a.create_claim("x")
        if loss == "restart":
            server.kill()
            server.start()
        elif loss == "flushall":
            server.command("FLUSHALL")
        elif loss == "scripts":
            server.command("SCRIPT", "FLUSH")
        else:
            assert server.command("DEL", f"eventy:orders:{loss}") or loss == "changes"
        for number in range(20, 40):
            publish_when_possible(a if number % 2 else b, {"n": number}, wait_until)
        wait_until(lambda: seen == list(range(1, 41)))
        wait_until(lambda: log_bytes(a) == log_bytes(b))
        assert numbers(a) == list(range(40))
        assert not is_granted(b, "x", wait_until)


def test_a_silent_root_is_waited_for_once(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Whoever publishes next waits for the append lock: were each to wait anew, requests would queue without end."""

    def seconds_until_refused(queue: Queue) -> float:
        started = time.monotonic()
        with pytest.raises(CoordinationError, match="has not said yet how far"):
            queue.publish({})
        return time.monotonic() - started

    with make("a") as a, make("silent") as silent:
        for _ in range(2):  # each loss is one by itself
            publish_when_possible(a, {}, wait_until, silent)
            publish_when_possible(silent, {}, wait_until)
            server.command("FLUSHALL")
            assert seconds_until_refused(a) >= AWAIT_SECONDS
            assert sum(seconds_until_refused(a) for _ in range(5)) < AWAIT_SECONDS
            silent.publish({})
            a.publish({})


def test_a_server_that_forgets_over_and_over_is_told_each_time(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """FLUSHALL at any moment, while two roots publish: acknowledged events are there once, logs are equal."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        publish_when_possible(a, {"n": "first of a"}, wait_until)
        publish_when_possible(b, {"n": "first of b"}, wait_until)
        outcomes: dict[int, str] = {}
        stop = threading.Event()

        def publish(queue: Queue, number: int) -> None:
            while not stop.is_set():
                outcomes[number] = outcome(queue, {"n": number})
                number += 2

        threads = [threading.Thread(target=publish, args=pair) for pair in ((a, 0), (b, 1))]
        for thread in threads:
            thread.start()
        for _ in range(10):
            goal = len(outcomes) + 40
            wait_until(lambda goal=goal: len(outcomes) >= goal)
            server.command("FLUSHALL")
        stop.set()
        for thread in threads:
            thread.join()
        there = settle(a, b, wait_until)
        assert len(set(there)) == len(there)
        assert {number for number, value in outcomes.items() if value == "published"} <= set(there)
        assert not {number for number, value in outcomes.items() if value == "refused"} & set(there)
        wait_until(lambda: len(seen) == a.health()["tail"])
        assert seen == list(range(1, len(seen) + 1))


@pytest.mark.parametrize("lock_ends_last", [True, False])
def test_ids_go_on_behind_an_end_of_the_log_that_is_lost(
    make: Make, server: RedisServer, monkeypatch: pytest.MonkeyPatch, lock_ends_last: bool
) -> None:
    """No root has the last events, so the journal cannot be filled with them: it begins behind them.

    The lock under which others are asked may run out between a look at it and its release.
    """
    if lock_ends_last:
        monkeypatch.setattr(redis.lock.Lock, "owned", lambda lock: True)
    with make("b"):
        pass  # so that the other one cannot go on without Redis
    with make("a") as a:
        a.publish_many([{"n": number} for number in range(5)])
    server.command("INCRBY", "eventy:orders:next_event_id", 5)
    with make("a", resync_lock_timeout_seconds=0.5) as a:
        assert a.stats()["tail"] == 10
        server.command("DEL", "eventy:orders:journal")
        server.command("HDEL", "eventy:orders:meta", "epoch")
        assert outcome(a, {"n": 10}) == "published"
        assert a.stats()["tail"] == 11
        assert server.command("XLEN", "eventy:orders:journal") == 1
