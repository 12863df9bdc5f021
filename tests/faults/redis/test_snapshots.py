"""A server that comes back with an older state than it had: the disk wins."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import (
    Make,
    Wait,
    is_granted,
    log_bytes,
    numbers,
    publish_when_possible,
    settle,
    wait_for_mode,
)

SNAPSHOT = "dump.rdb"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that loads a snapshot when it starts."""
    with RedisServer(dbfilename=SNAPSHOT) as server:
        yield server


def take_snapshot(server: RedisServer) -> None:
    """Keep the server's present state."""
    server.command("SAVE")
    shutil.copy(server.directory / SNAPSHOT, server.directory / "kept.rdb")


def go_back_to_snapshot(server: RedisServer) -> None:
    """Kill the server and start it with the state that was kept."""
    server.kill()
    shutil.copy(server.directory / "kept.rdb", server.directory / SNAPSHOT)
    server.start()


@pytest.mark.parametrize("who_first", ["a", "b"])
def test_a_server_with_an_old_snapshot_gives_no_id_twice(
    make: Make, server: RedisServer, wait_until: Wait, who_first: str
) -> None:
    """Two roots that live go on behind the newest event; subscribers see each event once, in order."""
    with make("a") as a, make("b") as b:
        seen: dict[str, list[int]] = {"a": [], "b": []}
        a.subscribe(lambda event: seen["a"].append(event.id))
        b.subscribe(lambda event: seen["b"].append(event.id))
        for number in range(5):
            publish_when_possible(a, {"n": number}, wait_until)
        take_snapshot(server)
        for number in range(5, 25):
            (a if number % 2 else b).publish({"n": number})
        wait_until(lambda: seen["a"] == seen["b"] == list(range(1, 26)))
        go_back_to_snapshot(server)
        for number in range(25, 45):
            publish_when_possible(a if (number % 2) == (who_first == "a") else b, {"n": number}, wait_until)
        wait_until(lambda: seen["a"] == seen["b"] == list(range(1, 46)))
        assert numbers(a) == numbers(b) == list(range(45))
        assert log_bytes(a) == log_bytes(b)


def test_a_claim_that_an_old_snapshot_has_not_is_held_all_the_same(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Its root tells the server again; tokens go on growing."""
    with make("a") as a, make("b") as b:
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        take_snapshot(server)
        assert a.create_claim("taken", ttl_seconds=60)
        token = a.get_claim("taken").token
        go_back_to_snapshot(server)
        settle(a, b, wait_until)
        wait_for_mode(b, "connected", wait_until)
        assert not is_granted(b, "taken", wait_until)
        assert b.get_claim("taken").worker_id == a.worker_id
        assert is_granted(b, "new", wait_until)
        assert b.get_claim("new").token > token


def test_a_root_that_missed_what_the_snapshot_lost_gets_it_from_the_other(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """It was closed when the events were published, and the server no longer has them."""
    with make("a") as a:
        a.subscribe(lambda event: None)
        with make("b") as b:
            b.publish({"n": 0})
        take_snapshot(server)
        a.publish_many([{"n": number} for number in range(1, 300)])
        go_back_to_snapshot(server)
        wait_for_mode(a, "connected", wait_until)
        with make("b") as b:
            b.subscribe(lambda event: None)
            publish_when_possible(b, {"n": 300}, wait_until)
            wait_until(lambda: numbers(a) == list(range(301)))
            wait_until(lambda: log_bytes(a) == log_bytes(b))


def test_alone_a_server_with_an_old_snapshot_is_told_the_rest(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Also when it happens while the queue is closed; a new root then gets everything."""
    with make("a") as a:
        a.publish({"n": 0})
        take_snapshot(server)
        a.publish_many([{"n": number} for number in range(1, 50)])
    go_back_to_snapshot(server)
    with make("a") as a:
        a.subscribe(lambda event: None)
        assert a.publish({"n": 50}).id == 51
        with make("b", resync=True) as b:
            publish_when_possible(b, {"n": 51}, wait_until)
            wait_until(lambda: numbers(a) == numbers(b) == list(range(52)))
