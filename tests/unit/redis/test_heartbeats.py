"""Heartbeats over a server: what a worker says, hears and takes off the list; heartbeat.lua and leave.lua."""

from __future__ import annotations

import os
import socket
import time
from uuid import UUID

import msgspec
import pytest

from eventy_sync.redis import workers as module
from eventy_sync.redis.messages import Heartbeat, encode
from eventy_sync.redis.workers import EXPIRY_SECONDS, SILENT_SECONDS, Heard, Worker, Workers
from tests.unit.redis.conftest import Fake

ANN, BEN, MINE, OTHER = (UUID(int=number) for number in range(1, 5))
MESSAGE = Heartbeat(str(ANN), str(MINE), "e1")
FOREIGN = {
    "empty": b"",
    "no text": b"\xff",
    "a list": b"[]",
    "no pid": b'{"root_id":"r","seen_at":1}',
    "a pid in a text": b'{"pid":"1","root_id":"r","seen_at":1}',
    "too deep": b'{"x":' * 50_000,
}


def workers_of(fake: Fake, worker_id: UUID = ANN, root_id: UUID = MINE) -> Workers:
    """Return one worker's view."""
    return Workers(fake.keys, fake.link, worker_id, root_id)


def put(fake: Fake, name: bytes | str, silent_seconds: float = 0.0, root_id: str = "r", host: str = "h") -> None:
    """Put a worker on the list."""
    worker = Worker(os.getpid(), root_id, time.time() - silent_seconds, host)
    fake.client.hset(fake.keys.workers, name, msgspec.json.encode(worker))


def test_a_heartbeat_leaves_word_of_worker_and_root(fake: Fake) -> None:
    """And brings back the last id and all roots; the others hear of it."""
    fake.begin_epoch("e1")
    fake.client.set(fake.keys.next_event_id, 8)
    fake.client.hset(fake.keys.roots, str(OTHER), b"what it says")
    workers = workers_of(fake)
    heard = workers.beat(b"e1", b"what I say", encode(MESSAGE))
    assert heard is not None
    assert heard.last_id == 7
    said = dict(zip(heard.roots[::2], heard.roots[1::2], strict=True))
    assert said == {str(OTHER).encode(): b"what it says", str(MINE).encode(): b"what I say"}
    assert fake.published() == [MESSAGE]
    (known,) = workers.all().values()
    assert (known.pid, known.root_id, known.host) == (os.getpid(), str(MINE), socket.gethostname())
    assert not known.is_silent


def test_before_anything_was_published_the_last_id_is_none(fake: Fake) -> None:
    """0, that is, where the server has no counter."""
    fake.begin_epoch("e1")
    assert workers_of(fake).beat(b"e1", b"x", encode(MESSAGE)) == Heard(0, [str(MINE).encode(), b"x"])


@pytest.mark.parametrize("epoch", [b"e2", b""])
def test_when_the_epoch_is_over_nothing_is_kept(fake: Fake, epoch: bytes) -> None:
    """Nor said to others."""
    fake.begin_epoch("e1")
    before = fake.everything()
    assert workers_of(fake).beat(epoch, b"x", encode(MESSAGE)) is None
    assert fake.everything() == before
    assert fake.published() == []


def test_on_a_server_that_is_new_there_is_no_epoch(fake: Fake) -> None:
    """Who beats has to join."""
    assert workers_of(fake).beat(b"e1", b"x", encode(MESSAGE)) is None
    assert fake.everything() == {}


def test_a_heartbeat_is_due_now_and_then(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """At first, when its time has come, and when somebody says so; also after one that was refused."""
    workers = workers_of(fake)
    assert workers.is_due()
    workers.beat(b"e1", b"x", encode(MESSAGE))
    assert not workers.is_due()
    workers.make_due()
    assert workers.is_due()
    workers.beat(b"e1", b"x", encode(MESSAGE))
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.0)  # five seconds later
    assert workers.is_due()


@pytest.mark.parametrize(
    ("others", "is_last"),
    [
        ([], True),
        ([(BEN, OTHER)], True),
        ([(BEN, MINE)], False),
        ([(BEN, MINE), (UUID(int=9), OTHER)], False),
    ],
)
def test_who_leaves_knows_whether_it_was_its_roots_last(
    fake: Fake, others: list[tuple[UUID, UUID]], is_last: bool
) -> None:
    """Also when it was not on the list any more; it leaves word of that for the others, and nobody is woken."""
    fake.begin_epoch("e1")
    workers = workers_of(fake)
    put(fake, str(ANN), root_id=str(MINE))
    for worker_id, root_id in others:
        put(fake, str(worker_id), root_id=str(root_id))
    for _ in range(2):
        assert workers.leave(b"e1", b"open", b"closed") is is_last
        assert set(workers.all()) == {str(worker_id) for worker_id, _ in others}
        assert fake.client.hgetall(fake.keys.roots) == {str(MINE).encode(): b"closed" if is_last else b"open"}
    assert fake.published() == []


@pytest.mark.parametrize("epoch", [b"e2", b""])
def test_who_leaves_when_the_epoch_is_over_does_not_close_its_root(fake: Fake, epoch: bytes) -> None:
    """It has not said yet how far its log goes; but nobody need take the worker off the list."""
    fake.begin_epoch("e1")
    workers = workers_of(fake)
    workers.beat(b"e1", b"open", encode(MESSAGE))
    workers.leave(epoch, b"open", b"closed")
    assert workers.all() == {}
    assert fake.client.hget(fake.keys.roots, str(MINE)) == b"open"


def test_a_heartbeat_sweeps_the_list(fake: Fake) -> None:
    """Who cannot live is taken off, and what is no worker; who may live stays."""
    fake.begin_epoch("e1")
    put(fake, "old", EXPIRY_SECONDS + 1)
    put(fake, "silent", SILENT_SECONDS + 1)
    put(fake, "alive")
    for name, value in FOREIGN.items():
        fake.client.hset(fake.keys.workers, name, value)
    fake.client.hset(fake.keys.workers, b"\xff\xfe", b"x")
    workers_of(fake).beat(b"e1", b"x", encode(MESSAGE))
    assert set(fake.client.hkeys(fake.keys.workers)) == {b"silent", b"alive", str(ANN).encode()}


def test_the_list_is_swept_seldom(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with every heartbeat, and not by who ends."""
    fake.begin_epoch("e1")
    workers = workers_of(fake)
    put(fake, "old", EXPIRY_SECONDS + 1)
    workers.leave(b"e1", b"open", b"closed")
    assert "old" in workers.all()
    workers.beat(b"e1", b"x", encode(MESSAGE))
    put(fake, "older", EXPIRY_SECONDS + 1)
    workers.beat(b"e1", b"x", encode(MESSAGE))
    assert set(workers.all()) == {"older", str(ANN)}
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.0)  # a minute later
    workers.beat(b"e1", b"x", encode(MESSAGE))
    assert set(workers.all()) == {str(ANN)}


@pytest.mark.parametrize("value", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_no_worker_is_not_listed(fake: Fake, value: bytes) -> None:
    """A name that is no text is shown as well as it can be."""
    fake.client.hset(fake.keys.workers, "x", value)
    put(fake, b"\xff")
    assert set(workers_of(fake).all()) == {"�"}


@pytest.mark.parametrize(("silent_seconds", "is_silent"), [(0, False), (SILENT_SECONDS + 1, True), (-3600, False)])
def test_who_was_not_heard_of_for_a_minute_is_silent(silent_seconds: float, is_silent: bool) -> None:
    """A clock that is ahead of ours is no silence."""
    assert Worker(1, "r", time.time() - silent_seconds).is_silent is is_silent
