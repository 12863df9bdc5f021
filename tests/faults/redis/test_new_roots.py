"""A root that joins while another believes itself alone."""

from __future__ import annotations

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait, outcome, wait_for_mode


def test_a_root_that_listens_learns_of_a_new_one_at_once(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Not at its next heartbeat: until it knows, it would publish by itself without the server."""
    with make("a") as a:
        a.subscribe(lambda event: None)
        a.publish({"n": 0})
        with make("b") as b:
            wait_until(lambda: a.health()["other_roots"] == 1, 2)
            server.kill()
            wait_for_mode(a, "degraded", wait_until)
            assert outcome(a, {"n": "no"}) == "refused"
            assert b.health()["tail"] == 1
