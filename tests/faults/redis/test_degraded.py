"""A server that is away or frozen: what still works, what is refused, and how all is whole again."""

from __future__ import annotations

import time

import pytest

from eventy_sync import CoordinationError
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Queue, Wait, numbers, publish_when_possible, wait_for_mode


def test_without_a_server_a_root_that_is_alone_does_everything(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Absent at the start, back later: whole again by itself."""
    server.stop()
    with make("a") as a:
        assert a.health()["mode"] == "degraded"
        assert [a.publish({"n": number}).id for number in range(3)] == [1, 2, 3]
        assert a.create_claim("x")
        server.start()
        wait_for_mode(a, "connected", wait_until)
        assert a.publish({"n": 3}).id == 4
        with make("b") as b:
            assert not b.create_claim("x")
            assert b.publish({"n": 4}).id == 5
        wait_until(lambda: numbers(a) == [0, 1, 2, 3, 4])


def test_with_other_roots_a_lost_server_refuses_what_is_unsafe(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The error says since when and why; reading and delivering go on; then it is whole again."""
    with make("a") as a, make("b") as b:
        a.publish({"n": 0})
        b.publish({"n": 1})
        a.publish({"n": 2})
        server.kill()
        wait_until(lambda: a.health()["mode"] == "degraded" or publishes(a))
        with pytest.raises(CoordinationError, match=r"degraded since .*forget-root"):
            a.publish({"n": "no"})
        with pytest.raises(CoordinationError, match="the claim was not taken"):
            a.create_claim("x")
        assert numbers(a) == [0, 1, 2]
        server.start()
        wait_for_mode(a, "connected", wait_until)
        publish_when_possible(b, {"n": 3}, wait_until)
        publish_when_possible(a, {"n": 4}, wait_until)
        wait_until(lambda: numbers(a) == [0, 1, 2, 3, 4])


def publishes(queue: Queue) -> bool:
    try:
        queue.publish({"n": "no"})
    except CoordinationError:
        return False
    raise AssertionError("it was published without a server")


def test_a_frozen_server_holds_up_one_call_only(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Alone: the first publish takes the timeout, the next ones nothing; all are there when it thaws."""
    with make("a") as a:
        a.publish({"n": 0})
        server.freeze()
        started = time.monotonic()
        a.publish({"n": 1})
        assert time.monotonic() - started < 10
        started = time.monotonic()
        for number in range(2, 50):
            a.publish({"n": number})
        assert time.monotonic() - started < 2
        server.thaw()
        wait_for_mode(a, "connected", wait_until)
        a.publish({"n": 50})
        assert numbers(a) == list(range(51))
        with make("b") as b:
            assert b.publish({"n": 51}).id == 52
