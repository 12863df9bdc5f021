"""A root that answers a request for a resync whose asker is gone, while another one asks."""

from __future__ import annotations

import pytest

from eventy_sync import CoordinationError
from eventy_sync.redis import resync
from eventy_sync.redis.link import Script
from eventy_sync.redis.messages import Heartbeat, encode
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Queue, Wait, numbers, publish_when_possible

REQUEST = b'{"type":"resync","worker_id":"x","root_id":"y","request_id":"abc","first_id":1,"last_id":20000}'


def test_an_asker_that_is_gone_keeps_nobody_from_being_answered(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """It held the lock, asked for more than is sent ahead and died: the next one gets everything all the same."""
    with make("a", journal_length=100) as a:
        a.subscribe(lambda event: None)
        wait_until(lambda: server.command("PUBSUB", "NUMSUB", "eventy:orders:events")[1] == 1)
        for start in range(0, 20_000, 2000):
            a.publish_many([{"n": number} for number in range(start, start + 2000)])
        server.command("SET", "eventy:orders:resync_lock", "abc", "PX", 3000)
        server.command("PUBLISH", "eventy:orders:events", REQUEST)
        wait_until(lambda: server.command("XLEN", "eventy:orders:resync:abc") == 16)
        with make("b", resync=True, resync_lock_timeout_seconds=5.0) as b:
            assert numbers(b) == list(range(20_000))
            assert b.health()["gaps"] == 0


def test_who_does_not_hold_the_lock_is_not_answered(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """A forged request costs a look at the lock, and nothing is sent."""
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        a.subscribe(lambda event: seen.append(event.id))
        wait_until(lambda: server.command("PUBSUB", "NUMSUB", "eventy:orders:events")[1] == 1)
        server.command("PUBLISH", "eventy:orders:events", REQUEST.replace(b"20000", b"1"))
        b.publish({"n": 0})
        wait_until(lambda: seen == [1])  # it has come to what followed the request
        assert server.command("KEYS", "eventy:orders:resync:*") == []


def publish_for_both(quick: Queue, late: Queue, wait_until: Wait) -> None:
    """Let both have 5001 events, most of which are no longer in the journal."""
    publish_when_possible(quick, {"n": 0}, wait_until)
    quick.subscribe(lambda event: None)
    late.subscribe(lambda event: None)
    for start in range(1, 5000, 500):
        quick.publish_many([{"n": number} for number in range(start, start + 500)])
    wait_until(lambda: late.health()["tail"] == 5001)


def test_a_peer_that_dies_in_the_middle_of_an_answer_is_replaced(
    make: Make, server: RedisServer, proxy: Proxy, wait_until: Wait
) -> None:
    """Another root has what is missing: nothing is written down as lost."""
    with (
        Proxy(server.port, delay_seconds=0.1) as slow,
        make("quick", redis_url=proxy.url, journal_length=100) as quick,
        make("late", redis_url=slow.url, journal_length=100) as late,
    ):
        publish_for_both(quick, late, wait_until)
        proxy.hold_request(Script("send").sha)
        with make("b", resync=True, resync_lock_timeout_seconds=4.0) as b:
            assert proxy.struck == ["hold request"]
            assert numbers(b) == list(range(5000 + 1))
            assert b.health()["gaps"] == 0


def test_a_peer_that_dies_after_a_part_of_an_answer_is_replaced_however_long_that_takes(
    make: Make, server: RedisServer, proxy: Proxy, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time the silence was too long the server has forgotten that anybody had begun to answer."""
    with (
        Proxy(server.port, delay_seconds=0.1) as slow,
        make("quick", redis_url=proxy.url, journal_length=100) as quick,
        make("late", redis_url=slow.url, journal_length=100) as late,
    ):
        publish_for_both(quick, late, wait_until)
        monkeypatch.setattr(resync, "EXPIRY_SECONDS", 1)
        proxy.hold_request('"n":2500')  # in the third page
        with make("b", resync=True, resync_lock_timeout_seconds=3.0) as b:
            assert proxy.struck == ["hold request"]
            assert numbers(b) == list(range(5000 + 1))


def test_a_root_that_must_ask_others_itself_answers_meanwhile(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """It learns so as it joins anew, and waits for the lock, which somebody holds whom only this root can answer."""
    with make("b"):
        pass  # so that there is somebody to ask
    with make("a") as a:
        a.subscribe(lambda event: None)
        a.publish_many([{"n": number} for number in range(5)])
        wait_until(lambda: server.command("PUBSUB", "NUMSUB", "eventy:orders:events")[1] == 1)
        server.command("SET", "eventy:orders:resync_lock", "abc", "PX", 60_000)
        server.command("INCRBY", "eventy:orders:next_event_id", 5)
        server.command("PUBLISH", "eventy:orders:events", encode(Heartbeat("x", "other", "another epoch")))
        wait_until(lambda: a.health()["mode"] == "rejoining")
        server.command("PUBLISH", "eventy:orders:events", REQUEST.replace(b"20000", b"5"))
        wait_until(lambda: server.command("XLEN", "eventy:orders:resync:abc"))


def test_a_claim_does_not_wait_for_what_must_come_from_another_root(make: Make, server: RedisServer) -> None:
    """It is refused for now; the root finds as it joins anew that it is behind, and goes on with that in a thread."""
    with make("b"):
        pass  # so that there is somebody to ask
    with make("a", resync_lock_timeout_seconds=0.5) as a:
        a.publish({"n": 0})
        server.command("SET", "eventy:orders:resync_lock", "abc", "PX", 5_000)
        server.command("INCRBY", "eventy:orders:next_event_id", 5)
        server.command("HDEL", "eventy:orders:meta", "epoch")
        with pytest.raises(CoordinationError, match="the claim was not taken: rejoining"):
            a.create_claim("x")
