"""Claims that are asked for while the root joins anew."""

from __future__ import annotations

import redis

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait, publish_when_possible

FORGED = b'{"type":"heartbeat","worker_id":"x","root_id":"y","epoch":"forged"}'


def test_a_heartbeat_of_another_epoch_refuses_no_claim(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Forged or late: the root asks the server which epoch it is, and the server has lost nothing."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        with redis.Redis(port=server.port, protocol=2) as client:
            for number in range(200):
                client.publish("eventy:orders:events", FORGED)
                assert a.create_claim(f"claim {number}")
                assert a.health()["mode"] == "connected"
