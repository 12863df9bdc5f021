"""A server that lost what it knew: the disk wins."""

from __future__ import annotations

import pytest

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait, log_bytes, numbers, publish_when_possible


@pytest.mark.parametrize("loss", ["restart", "flushall", "counter", "journal"])
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
        elif loss == "counter":
            server.command("DEL", "eventy:orders:next_event_id")
        else:
            server.command("DEL", "eventy:orders:journal")
        for number in range(20, 40):
            publish_when_possible(a if number % 2 else b, {"n": number}, wait_until)
        wait_until(lambda: seen == list(range(1, 41)))
        wait_until(lambda: log_bytes(a) == log_bytes(b))
        assert numbers(a) == list(range(40))
        assert not b.create_claim("x")
