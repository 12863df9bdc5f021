"""Nobody is sent a message about events which the kernel tells of: as long as one root alone is open, none is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventy_sync.redis import roots
from tests.faults.redis.queues import Make, Wait, publish_when_possible

CHANNEL, META = "eventy:orders:events", "eventy:orders:meta"

Announced = Callable[[], list[int]]


@pytest.fixture
def announced(client: Any) -> Iterator[Announced]:
    """Return a function that returns the last ids of all messages about events since it was last called."""
    with client.pubsub() as pubsub:
        pubsub.subscribe(CHANNEL)
        messages = (each["data"] for each in pubsub.listen() if each["type"] == "message")

        def until_now() -> list[int]:
            client.publish(CHANNEL, "now")
            until_then = iter(lambda: next(messages), b"now")
            return [json.loads(each)["last_id"] for each in until_then if b'"add_event"' in each]

        yield until_now


def test_the_processes_of_a_root_that_is_alone_hear_from_each_other_all_the_same(
    make: Make, announced: Announced, wait_until: Wait
) -> None:
    """One by one and in batches."""
    with make() as publishing, make() as delivering:
        seen: list[int] = []
        delivering.subscribe(lambda event: seen.append(event.id))
        for _ in range(50):
            publishing.publish({})
        publishing.publish_many([{}] * 50)
        wait_until(lambda: seen == list(range(1, 101)))
        assert announced() == []


def test_messages_are_sent_from_the_moment_another_root_has_joined_until_its_last_worker_has_left(
    make: Make, announced: Announced, wait_until: Wait
) -> None:
    """That of either root; and again when it comes back."""
    with make("a") as a:
        a.publish({})
        for first_id in (2, 6):
            with make("b") as b:
                with make("b"):
                    publish_when_possible(a, {}, wait_until)
                    publish_when_possible(b, {}, wait_until)
                    assert announced() == [first_id, first_id + 1]
                a.publish({})
                assert announced() == [first_id + 2]
            a.publish({})
            assert announced() == []


def test_a_root_that_was_killed_may_live(make: Make, client: Any, announced: Announced, wait_until: Wait) -> None:
    """It has not said goodbye; until it is forgotten messages are sent.  If it speaks again they are, once more."""
    with make("a") as a, make("b") as b:
        publish_when_possible(b, {}, wait_until)
        b_root_id = str(b.health()["root_id"])
        a.forget_root(b_root_id)
        announced()
        a.publish({})
        assert announced() == []
        b.subscribe(lambda event: None)  # a worker that delivers says that it lives
        wait_until(lambda: client.hget(META, "alone") == b"")
        a.publish({})
        assert len(announced()) == 1


def test_where_the_kernel_does_not_tell_messages_are_sent(
    make: Make, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems that have no inotify."""
    monkeypatch.setattr(roots, "HAS_INOTIFY", False)
    with make() as queue:
        queue.publish({})
        queue.publish_many([{}, {}])
        assert announced() == [1, 3]


def test_a_root_that_the_server_takes_for_closed_sends_messages_to_the_one_that_it_knows_to_be_open(
    make: Make, client: Any, announced: Announced, wait_until: Wait
) -> None:
    """Being alone is not only a number: it says who is."""
    with make("a") as a, make("b") as b:
        publish_when_possible(a, {}, wait_until)
        b_root_id = str(b.health()["root_id"])
        announced()
        client.hset(META, "alone", f"last:{b_root_id}")
        a.publish({})
        assert announced() == [2]
        publish_when_possible(b, {}, wait_until)
        assert announced() == []
