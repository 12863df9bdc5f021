"""What arrives on the channel from anybody."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
import redis

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait, is_granted, log_bytes, publish_when_possible

CHANNEL = "eventy:orders:events"


def test_foreign_messages_change_nothing(
    make: Make, server: RedisServer, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """Forged, oversized, malformed: one warning, and delivery goes on."""
    with make("a") as a:
        seen: list[int] = []
        a.subscribe(lambda event: seen.append(event.id))
        wait_until(lambda: server.command("PUBSUB", "NUMSUB", CHANNEL)[1] == 1)
        for data in (
            b"",
            b"\xff\x00",
            b"[" * 10_000,
            b'{"type":"add_event"}',
            b'{"type":"import","module":"os"}',
            b'{"type":"add_event","worker_id":"x","root_id":"y","last_id":-5}',
            b'{"type":"add_event","worker_id":"x","root_id":"y","last_id":99999999999999999999999}',
            b'{"type":"add_event","worker_id":"x","root_id":"y","last_id":1000000}',
            b'{"type":"heartbeat","worker_id":"x","root_id":"y","epoch":"forged"}',
            b"x" * 100_000,
        ):
            server.command("PUBLISH", CHANNEL, data)
        a.publish({"n": 0})
        wait_until(lambda: seen == [1])
        assert caplog.text.count("messages passed over") == 1


def test_any_garbage_on_the_channel_is_passed_over(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Real messages with bytes changed, cut off or repeated, and plain noise: every event arrives, once, in order."""
    randomly = random.Random(36)
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        listened: list[bytes] = []
        with redis.Redis(port=server.port, protocol=2) as client, client.pubsub() as pubsub:
            pubsub.subscribe(CHANNEL)
            a.publish({"n": 0})
            wait_until(lambda: listened or listened.extend(data_of(pubsub.get_message(timeout=0.1))))
            samples = [*listened, *FORGED]
            for number in range(1, 301):
                client.publish(CHANNEL, garbled(randomly.choice(samples), randomly))
                if number % 10 == 0:
                    a.publish({"n": number})
        wait_until(lambda: seen == list(range(1, 32)))
        wait_until(lambda: (a.health()["mode"], b.health()["mode"]) == ("connected", "connected"))
        assert log_bytes(a) == log_bytes(b)


FORGED = [
    b'{"type":"heartbeat","worker_id":"x","root_id":"y","epoch":"forged"}',
    b'{"type":"resync","worker_id":"x","root_id":"y","request_id":"abc","first_id":1,"last_id":5}',
]


def data_of(message: Any) -> list[bytes]:
    return [message["data"]] if message and message["type"] == "message" else []


def garbled(data: bytes, randomly: random.Random) -> bytes:
    """Return something like this, but not it."""
    kind = randomly.randrange(5)
    if kind == 0:
        return randomly.randbytes(randomly.randrange(200))
    if kind == 1:
        return data[: randomly.randrange(len(data))]
    if kind == 2:
        return data * randomly.randrange(2, 2000)
    if kind == 3:
        return re.sub(rb"\\d+", lambda _: b"%d" % randomly.choice([-1, 0, 2**31, 2**63, 10**30]), data)
    position = randomly.randrange(len(data))
    return data[:position] + randomly.randbytes(1) + data[position + 1 :]


def test_a_flood_of_forged_heartbeats_keeps_nobody_from_working(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Each names an epoch that is not the queue's; ids run on and both roots stay equal."""
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: seen.append(event.id))
        with redis.Redis(port=server.port, protocol=2) as client:
            for number in range(40):
                for epoch in range(10):
                    client.publish(CHANNEL, FORGED[0].replace(b"forged", b"forged%d" % epoch))
                publish_when_possible(a if number % 2 else b, {"n": number}, wait_until)
        wait_until(lambda: seen == list(range(1, 41)))
        wait_until(lambda: log_bytes(a) == log_bytes(b))
        assert is_granted(a, "x", wait_until)
        assert not is_granted(b, "x", wait_until)


def test_forged_requests_for_a_resync_leave_nothing_behind(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """They are not answered, and what is published meanwhile is not held up."""
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        a.subscribe(lambda event: seen.append(event.id))
        a.publish_many([{"n": number} for number in range(5000)])
        with redis.Redis(port=server.port, protocol=2) as client:
            for number in range(50):
                client.publish(CHANNEL, FORGED[1].replace(b"abc", b"request%d" % number))
                b.publish({"n": number})
            wait_until(lambda: seen[-1:] == [5050])
            assert client.keys("*:resync:*") == []
        assert a.health()["mode"] == "connected"


def test_an_answer_that_nobody_fetches_expires(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Whoever asked has died: nothing stays in the server for ever."""
    with make("a") as a:
        a.subscribe(lambda event: None)
        a.publish_many([{"n": number} for number in range(5000)])
        with redis.Redis(port=server.port, protocol=2) as client:
            wait_until(lambda: client.pubsub_numsub(CHANNEL)[0][1] == 1)
            client.set("eventy:orders:resync_lock", "abc", px=2000)
            client.publish(CHANNEL, FORGED[1])
            wait_until(lambda: len(client.keys("*:resync:*")) == 2)
            assert all(0 < client.ttl(key) <= 60 for key in client.keys("*:resync:*"))


@pytest.mark.parametrize("other", [{"name": "orders2"}, {"redis_prefix": "eventy2"}, {"redis_db": 1}])
def test_queues_that_share_a_server_do_not_hear_each_other(
    make: Make, server: RedisServer, wait_until: Wait, other: dict[str, Any]
) -> None:
    """Another name, another prefix, another database: ids, claims and events are each queue's own."""
    with make("a") as a, make("b", **other) as b:
        seen: dict[str, list[int]] = {"a": [], "b": []}
        a.subscribe(lambda event: seen["a"].append(event.payload["n"]))
        b.subscribe(lambda event: seen["b"].append(event.payload["n"]))
        for number in range(10):
            assert a.publish({"n": number}).id == number + 1
            assert b.publish({"n": -number}).id == number + 1
        assert a.create_claim("x")
        assert b.create_claim("x")
        wait_until(lambda: len(seen["a"]) == len(seen["b"]) == 10)
        assert seen == {"a": list(range(10)), "b": [-number for number in range(10)]}
        assert a.health()["other_roots"] == b.health()["other_roots"] == 0
