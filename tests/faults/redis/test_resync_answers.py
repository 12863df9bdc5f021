"""A root that answers a request for a resync whose asker is gone, while another one asks."""

from __future__ import annotations

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Wait, numbers, publish_when_possible

FORGED = b'{"type":"resync","worker_id":"x","root_id":"y","request_id":"abc","first_id":1,"last_id":20000}'


def test_an_asker_that_is_gone_keeps_nobody_from_being_answered(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """It asked for more than is sent ahead and died, or never was: the next one gets everything all the same."""
    with make("a", journal_length=100) as a:
        a.subscribe(lambda event: None)
        wait_until(lambda: server.command("PUBSUB", "NUMSUB", "eventy:orders:events")[1] == 1)
        for start in range(0, 20_000, 2000):
            a.publish_many([{"n": number} for number in range(start, start + 2000)])
        server.command("PUBLISH", "eventy:orders:events", FORGED)
        wait_until(lambda: server.command("XLEN", "eventy:orders:resync:abc") == 16)
        with make("b", resync=True, resync_lock_timeout_seconds=5.0) as b:
            assert numbers(b) == list(range(20_000))
            assert b.health()["gaps"] == 0


def test_a_peer_that_dies_in_the_middle_of_an_answer_is_replaced(
    make: Make, server: RedisServer, proxy: Proxy, wait_until: Wait
) -> None:
    """Another root has what is missing: nothing is written down as lost."""
    with (
        Proxy(server.port, delay_seconds=0.1) as slow,
        make("quick", redis_url=proxy.url, journal_length=100) as quick,
        make("late", redis_url=slow.url, journal_length=100) as late,
    ):
        publish_when_possible(quick, {"n": 0}, wait_until)
        quick.subscribe(lambda event: None)
        late.subscribe(lambda event: None)
        for start in range(1, 5000, 500):
            quick.publish_many([{"n": number} for number in range(start, start + 500)])
        wait_until(lambda: late.health()["tail"] == 5001)
        proxy.hold_request("XADD")
        with make("b", resync=True, resync_lock_timeout_seconds=4.0) as b:
            assert proxy.struck == ["hold request"]
            assert numbers(b) == list(range(5000 + 1))
            assert b.health()["gaps"] == 0
