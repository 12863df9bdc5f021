"""Claims that are asked for, renewed and given back while the root joins anew."""

from __future__ import annotations

import pytest
import redis

from eventy_sync import CoordinationError
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Queue, Wait, impatient, publish_when_possible, wait_for_mode

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


def test_what_is_granted_while_a_root_comes_back_is_known_to_the_server(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Alone, it grants on; what it granted after it had told the server what it holds is told when it is back."""
    with Proxy(server.port, delay_seconds=0.02) as slow:
        slow.refuse()
        with make("a", redis_url=slow.url) as a:
            slow.accept()
            granted = take_until_connected(a, wait_until)
            with make("b") as b:
                found = b.batch_get_claims(granted)
                assert [claim and claim.worker_id for claim in found] == [a.worker_id] * len(granted)
                assert not any(b.create_claim(each) for each in granted)


def take_until_connected(queue: Queue, wait_until: Wait) -> list[str]:
    """Take one claim after the other while the root is coming back; return their ids."""
    granted: list[str] = []

    def is_back() -> bool:
        if queue.health()["mode"] == "connected":
            return True
        granted.append(f"claim {len(granted)}")
        assert queue.create_claim(granted[-1])
        return False

    wait_until(is_back)
    return granted


GONE = '{"host":"far","tail":1,"seen_at":1.0}'


def test_a_claim_does_not_wait_for_a_root_that_is_gone(make: Make, server: RedisServer) -> None:
    """One that was not heard of for a day holds nothing any more: it is forgotten, as when an event is published."""
    with make("a") as a:
        assert a.create_claim("x")
        server.command("HSET", "eventy:orders:roots", "gone", GONE)
        server.command("HDEL", "eventy:orders:meta", "epoch")  # what is lost makes all known roots awaited
        assert a.create_claim("y")
        assert a.health()["awaited_roots"] == 0
        assert not a.create_claim("x")


def test_a_claim_waits_for_a_root_that_may_live(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """It may hold the claim: refused while it is silent, and granted once it has said what it holds."""
    with make("a") as a, make("b") as b:
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        assert b.create_claim("x")
        server.command("DEL", *server.command("KEYS", "eventy:orders:claim*"))
        server.command("HDEL", "eventy:orders:meta", "epoch")
        with pytest.raises(CoordinationError, match="has not said yet which claims it holds"):
            a.create_claim("x")
        assert b.renew_claim("x").worker_id == b.worker_id
        assert not a.create_claim("x")
        assert a.create_claim("y")


def test_a_claim_that_is_put_back_late_lasts_as_long_as_it_was_renewed_for(
    make: Make, proxy: Proxy, server: RedisServer, wait_until: Wait
) -> None:
    """A process tells the server what its root holds; before that arrives, another one of the root renews it."""
    with make("a") as holder, make("a", redis_url=impatient(proxy.url)) as neighbour:
        assert holder.create_claim("x", ttl_seconds=8)
        come_back(neighbour, proxy, wait_until)  # the server knows the script from now on
        proxy.hold_request("claim:x")
        come_back(neighbour, proxy, wait_until)
        assert proxy.held
        token = holder.renew_claim("x", ttl_seconds=60).token
        ends = server.command("ZSCORE", "eventy:orders:claims", "x")
        proxy.deliver()
        assert server.command("PTTL", "eventy:orders:claim:x") > 30_000
        assert abs(float(server.command("ZSCORE", "eventy:orders:claims", "x")) - float(ends)) < 1000
        assert holder.renew_claim("x").token == token


def come_back(queue: Queue, proxy: Proxy, wait_until: Wait) -> None:
    """Let the root lose the server, and join anew."""
    proxy.refuse()
    queue.create_claim("lost without a server")
    wait_for_mode(queue, "degraded", wait_until)
    proxy.accept()
    wait_for_mode(queue, "connected", wait_until)
