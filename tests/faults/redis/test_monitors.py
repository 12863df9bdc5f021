"""A monitor that is cut off."""

from __future__ import annotations

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait


def test_a_monitor_that_is_cut_off_misses_nothing(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """However often its connection is killed."""
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        for number in range(100):
            server.command("CLIENT", "KILL", "TYPE", "pubsub")
            a.publish({"n": number})
        wait_until(lambda: seen == list(range(1, 101)))
