"""Claims that are written back to a server after the wall clock was moved."""

from __future__ import annotations

import pytest

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait, move_wall_clock, publish_when_possible, settle


@pytest.mark.parametrize("hours", [1, -1])
def test_a_claim_is_written_back_for_its_true_time(
    make: Make, server: RedisServer, monkeypatch: pytest.MonkeyPatch, wait_until: Wait, hours: int
) -> None:
    """The clock was moved by an hour, then the server forgot all: the claim is held, and free when its time is over."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: None)
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        assert a.create_claim("long", ttl_seconds=60)
        assert a.create_claim("short", ttl_seconds=4)
        move_wall_clock(monkeypatch, hours * 3600)
        server.command("FLUSHALL")
        settle(a, b, wait_until)
        assert not b.create_claim("long")
        wait_until(lambda: b.create_claim("short"), 8)
