"""A server that is there and refuses: read-only, full, loading, busy, unable to save.  Each passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from eventy_sync import CoordinationError
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import (
    Make,
    Wait,
    impatient,
    is_granted,
    log_bytes,
    numbers,
    outcome,
    settle,
    wait_for_mode,
)

Trouble = Callable[[RedisServer], "contextmanager[None]"]


@contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    """It becomes a replica of another one that is not there."""
    server.command("REPLICAOF", "127.0.0.1", "1")
    yield
    server.command("REPLICAOF", "NO", "ONE")


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    """It has no more memory and may drop nothing."""
    server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")  # one at a time: Redis 6.2 takes no more
    server.command("CONFIG", "SET", "maxmemory", "1")
    yield
    server.command("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def unable_to_save(server: RedisServer) -> Iterator[None]:
    """Its last snapshot failed, and it is told to take no writes then."""
    in_the_way = server.directory / "dump.rdb"
    in_the_way.mkdir()
    server.command("CONFIG", "SET", "save", "3600 1")
    save(server, "err")
    yield
    in_the_way.rmdir()
    save(server, "ok")


def save(server: RedisServer, status: str) -> None:
    """Have it save itself, and wait until it says how that went."""
    server.command("BGSAVE")
    pause, deadline = threading.Event(), time.monotonic() + 20
    while server.command("INFO", "persistence")["rdb_last_bgsave_status"] != status:
        assert time.monotonic() < deadline
        pause.wait(0.01)


@contextmanager
def busy(server: RedisServer) -> Iterator[None]:
    """Somebody's script runs for ever."""
    server.command("CONFIG", "SET", "lua-time-limit", "50")  # busy-reply-threshold, by its older name

    def run() -> None:
        with redis.Redis(port=server.port, protocol=2) as client, pytest.raises(redis.ResponseError):
            client.eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    pause = threading.Event()
    while not says_busy(server):
        pause.wait(0.01)
    yield
    server.command("SCRIPT", "KILL")
    thread.join()


def says_busy(server: RedisServer) -> bool:
    try:
        server.command("PING")
    except redis.ResponseError as exc:
        return "BUSY" in str(exc)
    return False


TROUBLES = [
    (read_only, "READONLY"),
    (full, "OOM|memory"),
    (unable_to_save, "MISCONF|RDB"),
    (busy, "BUSY|busy"),
]


@pytest.mark.parametrize(("trouble", "says"), TROUBLES)
def test_a_server_that_refuses_for_now_is_degraded_not_wrong(
    make: Make, server: RedisServer, wait_until: Wait, trouble: Trouble, says: str
) -> None:
    """With another root: publishing and claims are refused with the reason, reading goes on, then all is whole."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: None)
        a.publish({"n": 0})
        b.publish({"n": 1})
        a.publish({"n": 2})
        with trouble(server):
            assert outcome(a, {"n": "perhaps"}) in ("refused", "unknown")
            with pytest.raises(CoordinationError, match=rf"degraded since .*({says}).*forget-root"):
                a.publish({"n": "no"})
            with pytest.raises(CoordinationError, match="the claim was not taken"):
                a.create_claim("x")
            assert a.health()["mode"] == "degraded"
            assert [number for number in numbers(a) if isinstance(number, int)] == [0, 1, 2]
        wait_for_mode(a, "connected", wait_until)
        assert settle(a, b, wait_until) == [0, 1, 2]
        assert "no" not in numbers(a)
        assert is_granted(a, "x", wait_until)


@pytest.mark.parametrize(("trouble", "says"), TROUBLES)
def test_alone_a_server_that_refuses_for_now_is_done_without(
    make: Make, server: RedisServer, wait_until: Wait, trouble: Trouble, says: str
) -> None:
    """Also when the queue is opened meanwhile; the server is told when it is itself again."""
    with make("a") as a:
        a.publish({"n": 0})
        with trouble(server):
            assert a.publish({"n": 1}).id == 2
            assert a.create_claim("x")
            with make("a") as other:
                assert other.health()["mode"] == "degraded"
                assert other.publish({"n": 2}).id == 3
                assert not other.create_claim("x")
        wait_for_mode(a, "connected", wait_until)
        assert a.publish({"n": 3}).id == 4
        a.subscribe(lambda event: None)
        with make("b", resync=True) as b:
            assert not is_granted(b, "x", wait_until)
            assert numbers(b) == [0, 1, 2, 3]


def test_a_server_that_is_loading_is_waited_for(make: Make, wait_until: Wait, shared_server: RedisServer) -> None:
    """It answers LOADING after its start: degraded with that reason, connected when it has loaded."""
    if shared_server.version < (7, 0):
        pytest.skip("Redis 6.2 cannot be told to look at its clients often while it loads")
    slow = {"key-load-delay": "300", "loading-process-events-interval-bytes": "1024"}
    with RedisServer(persistent=True, **slow) as server:
        fill(server, 10_000)
        fields = {"redis_url": server.url}
        with make("a", **fields) as a, make("b", **fields) as b:
            a.publish({"n": 0})
            b.publish({"n": 1})
            server.kill()
            reasons: set[str] = set()
            a.subscribe(lambda event: None)
            b.subscribe(lambda event: None)
            starter = threading.Thread(target=server.start)
            starter.start()

            def is_back() -> bool:
                reasons.add(str(a.health()["reason"]))
                return not starter.is_alive() and a.health()["mode"] == "connected"

            wait_until(is_back, 60)
            starter.join()
            assert any("loading" in reason.lower() for reason in reasons), reasons
            assert settle(a, b, wait_until)[-1] == 1


def fill(server: RedisServer, keys: int) -> None:
    """Give it something to load."""
    with redis.Redis(port=server.port, protocol=2) as client:
        client.eval("for n = 1, tonumber(ARGV[1]) do redis.call('SET', 'filler' .. n, n) end", 0, keys)


def test_output_that_overruns_the_limit_cuts_the_monitor_which_catches_up(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The server closes the connection of a subscriber that is sent too much at once."""
    server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1024 1024 1")
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        wait_until(lambda: server.command("PUBSUB", "NUMSUB", "eventy:orders:events")[1] == 1)
        before = listeners(server)
        for number in range(20):
            a.publish({"n": number})
            server.command("PUBLISH", "eventy:orders:events", b"x" * 5_000_000)
        wait_until(lambda: seen == list(range(1, 21)))
        wait_until(lambda: log_bytes(a) == log_bytes(b))
        assert listeners(server) != before


def listeners(server: RedisServer) -> set[bytes]:
    """Return the ids of the connections that have subscribed to something."""
    return {line.split()[0] for line in server.command("CLIENT", "LIST", "TYPE", "pubsub").splitlines()}


def test_a_queue_opens_degraded_before_a_server_that_does_not_answer(make: Make) -> None:
    """Alone it publishes, after one timeout, and says why it is degraded."""
    with RedisServer() as server:
        server.freeze()
        with make("a", redis_url=impatient(server.url)) as a:
            assert a.health()["mode"] == "degraded"
            assert "imeout" in a.health()["reason"]
            assert a.publish({"n": 0}).id == 1
        server.thaw()
