"""A connection that was idle when it was closed, as by a server with a timeout for idle clients."""

from __future__ import annotations

import time

from eventy_sync.redis.link import IDLE_SECONDS
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Wait


def test_a_connection_that_was_cut_while_idle_is_made_anew(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """Nothing was sent over it, so nothing is unknown: claims and publishes are granted, not refused."""
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        a.publish({"n": 0})
        b.publish({"n": 1})
        for number in range(2, 8):
            assert a.create_claim(f"claim {number}")
            idle_until = time.monotonic() + 2 * IDLE_SECONDS
            wait_until(lambda idle_until=idle_until: time.monotonic() > idle_until)
            proxy.cut()
            assert a.renew_claim(f"claim {number}").worker_id == a.worker_id
            assert a.publish({"n": number}).id == number + 1
            assert a.health()["mode"] == "connected"
