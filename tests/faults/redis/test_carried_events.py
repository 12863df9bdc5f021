"""An event that is published alone goes with its wake-up, and other roots take it from there if it is genuine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha1
from typing import Any

import pytest

from eventy_sync.redis import roots
from eventy_sync.redis.catching_up import CatchingUp
from eventy_sync.storage.log import Entry
from tests.faults.redis.queues import Make, Queue, Wait, log_bytes, publish_when_possible

CHANNEL, META = "eventy:orders:events", "eventy:orders:meta"


@pytest.fixture
def pair(make: Make, client: Any, wait_until: Wait) -> Iterator[tuple[Queue, Queue, list[int]]]:
    """Two roots of one event, and the ids that a subscriber of the second has seen."""
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        wait_until(lambda: client.pubsub_numsub(CHANNEL)[0][1] == 1)
        publish_when_possible(a, {"n": 1}, wait_until)
        wait_until(lambda: seen == [1])
        yield a, b, seen


@pytest.fixture
def heard(client: Any) -> Iterator[Callable[[], dict[str, Any]]]:
    """Return a function that returns the next message about events."""
    with client.pubsub() as pubsub:
        pubsub.subscribe(CHANNEL)

        def hear() -> dict[str, Any]:
            while True:
                message = pubsub.get_message(timeout=20)
                assert message is not None
                if message["type"] == "message" and b'"add_event"' in message["data"]:
                    found: dict[str, Any] = json.loads(message["data"])
                    return found

        yield hear


def wake_up(key: bytes, event_id: int, at: int, before: int, payload: Any) -> bytes:
    """Return a message about this event, sealed with this key."""
    fields = json.dumps({"worker_id": "x", "payload": payload}, separators=(",", ":"))
    text = key + f" {event_id} {at} {before} {fields[1:-1]}".encode()
    seal = sha1(key + sha1(text).hexdigest().encode()).hexdigest()
    return (
        f'{{"type":"add_event","worker_id":"x","root_id":"y","last_id":{event_id},'
        f'"event":{{"at":{at},"before":{before},"seal":"{seal}","fields":{fields}}}}}'
    ).encode()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of the events that were taken from their messages."""
    taken: list[int] = []
    follow = CatchingUp.follow

    def take(catching_up: CatchingUp, entry: Entry, before: int) -> bool:
        is_here = follow(catching_up, entry, before)
        if is_here:
            taken.append(entry.id)
        return is_here

    monkeypatch.setattr(CatchingUp, "follow", take)
    return taken


def test_the_journal_is_not_asked_for_what_came_with_the_message(
    taken: list[int], pair: tuple[Queue, Queue, list[int]], wait_until: Wait
) -> None:
    """Unless another message came right behind it; the log is the same, of keyed and delayed events, too."""
    a, b, seen = pair
    for number in range(2, 41):
        a.publish({"n": number, "ü": 'é"\\\u2028' * number}, key=f"key-{number}" if number % 3 else None)
        wait_until(lambda number=number: seen[-1] == number)
    a.publish({"n": 41}, delay_seconds=0.001)
    wait_until(lambda: seen == list(range(1, 42)))
    assert len(taken) > 20
    assert log_bytes(a) == log_bytes(b)
    assert b.publish({"n": "again"}, key="key-2").id == 2


def test_whoever_lags_asks_for_all_at_once(
    taken: list[int], pair: tuple[Queue, Queue, list[int]], wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To take them one by one would make it lag the more."""
    a, b, seen = pair
    follow = CatchingUp.follow

    def take_slowly(catching_up: CatchingUp, entry: Entry, before: int) -> bool:
        wait_until(lambda: a.count_events() == 60)
        return follow(catching_up, entry, before)

    monkeypatch.setattr(CatchingUp, "follow", take_slowly)
    a.publish({"n": 2})
    for number in range(3, 61):
        a.publish({"n": number})
    wait_until(lambda: seen == list(range(1, 61)))
    assert len([event_id for event_id in taken if event_id > 1]) <= 1
    assert log_bytes(a) == log_bytes(b)


def test_large_events_and_batches_do_not_go_with_their_message(
    pair: tuple[Queue, Queue, list[int]], heard: Callable[[], dict[str, Any]], wait_until: Wait
) -> None:
    """Everybody listens to the channel: they are asked for by one process of each root."""
    a, b, seen = pair
    a.publish({"n": "x" * 3000})
    assert "event" not in heard()
    a.publish_many([{"n": 3}, {"n": 4}])
    assert "event" not in heard()
    a.publish({"n": 5})
    assert heard()["event"]["fields"]["payload"] == {"n": 5}
    wait_until(lambda: seen == [1, 2, 3, 4, 5])
    assert log_bytes(a) == log_bytes(b)


def test_alone_nothing_goes_with_the_message(
    make: Make, heard: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is one, because the kernel tells nobody of events: nobody would need it."""
    monkeypatch.setattr(roots, "HAS_INOTIFY", False)
    with make("a") as a:
        a.publish({"n": 1})
        assert "event" not in heard()


def test_what_is_not_sealed_with_the_epochs_key_is_asked_for(
    pair: tuple[Queue, Queue, list[int]], client: Any, wait_until: Wait
) -> None:
    """Whoever may only use the channel can forge an event as little as one who knows keys of former epochs."""
    a, b, seen = pair
    client.delete("eventy:orders:journal")
    client.hdel(META, "epoch")
    former = client.hget(META, "seal")
    publish_when_possible(a, {"n": 2}, wait_until, b)
    wait_until(lambda: seen == [1, 2])
    key, at = client.hget(META, "seal"), int(client.hget(META, "last_at"))
    assert key != former
    genuine = wake_up(key, 3, at + 1, at, {"n": "forged"})
    for forged in (
        *(wake_up(each, 3, at + 1, at, {"n": "forged"}) for each in (b"", former, b"0" * 32)),
        genuine.replace(b'"n":', b'"m":'),
        genuine.replace(b'"at":%d' % (at + 1), b'"at":%d' % (at + 2)),
        genuine.replace(b'"before":%d' % at, b'"before":0'),
        genuine.replace(b'"seal":"', b'"seal":"\xc3\xa9'),
        genuine.replace(b'"fields":{', b'"fields":"{').replace(b"}}}", b'}}"}'),
        wake_up(key, 4, at + 1, at, {"n": "forged"}).replace(b'"last_id":4', b'"last_id":3'),
    ):
        client.publish(CHANNEL, forged)
    a.publish({"n": 3})
    wait_until(lambda: seen == [1, 2, 3])
    assert b.get_event(3).payload == {"n": 3}
    assert log_bytes(a) == log_bytes(b)


def test_a_genuine_event_is_taken_once_and_only_behind_the_one_before_it(
    pair: tuple[Queue, Queue, list[int]], client: Any, wait_until: Wait
) -> None:
    """One that leaves a hole, or follows another event, is asked for; one that comes again changes nothing."""
    a, b, seen = pair
    key, at = client.hget(META, "seal"), int(client.hget(META, "last_at"))
    client.publish(CHANNEL, wake_up(key, 3, at + 9, at, {"n": "leaves a hole"}))
    client.publish(CHANNEL, wake_up(key, 2, at + 9, at - 1, {"n": "follows another"}))
    a.publish({"n": 2})
    wait_until(lambda: seen == [1, 2])
    assert log_bytes(a) == log_bytes(b)
    at = int(client.hget(META, "last_at"))
    for _ in range(3):
        client.publish(CHANNEL, wake_up(key, 3, at + 1, at, {"n": 3}))
    wait_until(lambda: seen == [1, 2, 3])
    assert b.count_events() == 3
