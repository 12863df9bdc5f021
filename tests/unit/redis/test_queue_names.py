"""The names by which a Redis queue's inner steps are known: each is used, and does what it is called.

They are those of the asyncio twin, so whoever knows one library finds the way in the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import fakeredis
import msgspec
import pytest

from eventy_sync import ClaimNotFoundError
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.messages import (
    AddClaim,
    AddEvent,
    AddResult,
    CarriedEvent,
    CreateSubscriber,
    Heartbeat,
    RemoveClaim,
    RemoveSubscriber,
    ResyncDone,
    ResyncRequest,
    encode,
)
from eventy_sync.storage.log import fields

Queue = RedisFileEventQueue[Any]
Make = Callable[..., Queue]
SOMEONE = str(UUID(int=7)), str(UUID(int=8))


@pytest.fixture
def client() -> Iterator[fakeredis.FakeRedis]:
    """A client of a server of its own."""
    made = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    yield made
    made.close()


@pytest.fixture
def make(client: fakeredis.FakeRedis, tmp_path: Path) -> Iterator[Make]:
    """Make open queues, each a root of its own."""
    opened: list[Queue] = []

    def make_queue(name: str) -> Queue:
        queue: Queue = RedisFileEventQueue(
            tmp_path / name,
            name="orders",
            payload_type=dict,
            redis_client=client,
            resync_lock_timeout_seconds=0.1,
        )
        queue.open()
        opened.append(queue)
        return queue

    yield make_queue
    for queue in opened:
        queue.close()


def numbers(queue: Queue) -> list[int]:
    return [event.payload["n"] for event in queue.iter_events(1)]


def in_redis(client: fakeredis.FakeRedis) -> dict[bytes, bytes | None]:
    """Return what the queue has there, apart from times: who was heard of when, and until when claims last."""
    times = (b":workers", b":roots", b":claims", b":claim:x")
    names = [each for each in client.scan_iter() if not each.endswith(times)]
    return {name: client.dump(name) for name in names}


def test_publish_to_redis_journals_what_the_next_catching_up_brings(client: fakeredis.FakeRedis, make: Make) -> None:
    """It gives out ids under the append lock, and leaves it to its caller to write the log."""
    a, b = make("a"), make("b")
    a.publish({"n": 0})
    with a._opened().log.appending() as end:
        published = a._publish_to_redis(end, [fields(b'{"n":1}', "json"), fields(b'{"n":2}', "json")])
        assert end.tail == 1
    assert published is not None
    first_id, at = published
    assert first_id == 2
    assert client.xlen("eventy:orders:journal") == 3
    assert numbers(b) == [0, 1, 2]
    a._perform_resync()
    assert numbers(a) == [0, 1, 2]
    created_at = a.get_event(2).created_at
    assert int(created_at.timestamp() * 1_000_000 + 0.5) == at
    assert a.publish({"n": 3}).id == 4


def test_publish_to_redis_says_that_redis_cannot_be_had(make: Make) -> None:
    """Nothing is given out, and the queue goes on alone if it is."""
    queue = make("a")
    pool = queue._pool
    server = pool.connection_kwargs["server"]
    server.connected = False
    try:
        with queue._opened().log.appending() as end:
            assert queue._publish_to_redis(end, [fields(b'{"n":1}', "json")]) is None
        assert queue.health()["mode"] == "degraded"
        assert queue.publish({"n": 0}).id == 1
    finally:
        server.connected = True


def test_start_pubsub_monitor_listens_once(client: fakeredis.FakeRedis, make: Make, wait_until: Any) -> None:
    """However often it is called; from then on what others publish is here without anybody asking."""
    a, b = make("a"), make("b")
    for _ in range(3):
        a._start_pubsub_monitor()
    wait_until(lambda: client.pubsub_numsub("eventy:orders:events")[0][1] == 1)
    b.publish({"n": 0})
    wait_until(lambda: a._opened().log.tail() == 1)


def test_handle_redis_message_looks_at_the_journal(make: Make) -> None:
    """A message says only that there may be something."""
    a, b = make("a"), make("b")
    b.publish({"n": 0})
    assert a._opened().log.tail() == 0
    a._handle_redis_message(encode(AddEvent(*SOMEONE, 1)))
    assert a._opened().log.tail() == 1
    assert numbers(a) == [0]


FORGED = {
    "no JSON": b"\xff\x00",
    "nothing": b"",
    "an unknown type": b'{"type":"import","module":"os"}',
    "an event": encode(AddEvent(*SOMEONE, 1000)),
    "the next event": encode(AddEvent(*SOMEONE, 2, CarriedEvent(2, 1, "\u00e9", msgspec.Raw(b'{"payload":{}}')))),
    "a result": encode(AddResult(*SOMEONE)),
    "a subscription": encode(CreateSubscriber(*SOMEONE)),
    "the end of a subscription": encode(RemoveSubscriber(*SOMEONE)),
    "a claim": encode(AddClaim(*SOMEONE, "x", 1000)),
    "the end of a claim": encode(RemoveClaim(*SOMEONE, "x", 1000)),
    "a heartbeat": encode(Heartbeat(*SOMEONE, "forged")),
    "a request": encode(ResyncRequest(*SOMEONE, "a0", 1, 1, 0)),
    "the end of a request": encode(ResyncDone(*SOMEONE, "a0")),
}


@pytest.mark.parametrize("data", FORGED.values(), ids=FORGED.keys())
def test_handle_redis_message_of_what_is_forged_changes_nothing(
    client: fakeredis.FakeRedis, make: Make, data: bytes
) -> None:
    """Neither here nor in Redis: it is looked for, and is not there."""
    queue = make("a")
    queue.publish({"n": 0})
    assert queue.create_claim("x")
    claim = queue.get_claim("x")
    before = in_redis(client)
    queue._handle_redis_message(data)
    assert in_redis(client) == before
    assert numbers(queue) == [0]
    held = queue.get_claim("x")
    assert replace(held, created_at=claim.created_at, expires_at=claim.expires_at) == claim
    assert queue.count_results() == 0
    assert queue.health()["mode"] == "connected"
    assert queue.publish({"n": 1}).id == 2


def test_perform_resync_catches_up_now(client: fakeredis.FakeRedis, make: Make, wait_until: Any) -> None:
    """With what the journal has, at once; what it has no longer is got from another root, in a thread, or is lost."""
    a, b = make("a"), make("b")
    a.publish({"n": 0})
    b._perform_resync()
    assert b._opened().log.tail() == 1
    for number in range(1, 4):
        a.publish({"n": number})
    client.xdel("eventy:orders:journal", "2-0")
    b._perform_resync()
    wait_until(lambda: b._opened().log.tail() == 4)
    wait_until(lambda: b.health()["mode"] == "connected")


def test_create_claim_and_get_claim_are_the_same_for_all_roots(make: Make) -> None:
    """What one is granted another finds, and is not granted."""
    a, b = make("a"), make("b")
    assert a.create_claim("x", data={"n": 1})
    assert not b.create_claim("x")
    claim = b.get_claim("x")
    assert (claim.id, claim.worker_id, claim.data, claim.token) == ("x", a.worker_id, {"n": 1}, 1)
    with pytest.raises(ClaimNotFoundError):
        b.get_claim("y")
