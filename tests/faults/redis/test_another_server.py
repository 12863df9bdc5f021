"""A server that another one takes the place of, with an older state, while something is being asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventy_sync.redis.coordinator import RedisCoordinator
from eventy_sync.redis.server import RedisServer
from eventy_sync.redis.translation import RedisUnavailableError
from tests.faults.redis.queues import Make, Queue, Wait, is_granted, log_bytes, numbers, publish_when_possible
from tests.faults.redis.test_snapshots import SNAPSHOT, go_back_to_snapshot, take_snapshot


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that loads a snapshot when it starts."""
    with RedisServer(dbfilename=SNAPSHOT) as server:
        yield server


def once_before(owner: Any, name: str, happen: Callable[[], object]) -> None:
    """Let this happen before the owner's function of this name is called for the first time."""
    original = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        setattr(owner, name, original)
        happen()
        return original(*arguments, **options)

    setattr(owner, name, call)


def lose_and_notice(server: RedisServer, coordinator: RedisCoordinator) -> None:
    """Let the server lose its last state, and another thread's command be the one that finds out."""
    go_back_to_snapshot(server)
    with pytest.raises(RedisUnavailableError, match="another one has taken its place"):
        coordinator._asking.command("PING")


def fall_behind(a: Queue, b: Queue, server: RedisServer, wait_until: Wait) -> None:
    """Let the server lose events that only the first root has, and a claim of its; that one listens."""
    a.subscribe(lambda event: None)
    publish_when_possible(b, {"n": 0}, wait_until)
    assert a.publish({"n": 1}).id == 2
    assert b.count_events() == 2
    take_snapshot(server)
    a.publish_many([{"n": number} for number in range(2, 20)])
    assert a.create_claim("taken", ttl_seconds=60)


def check_that_no_id_is_given_twice(a: Queue, b: Queue, wait_until: Wait) -> None:
    """Publish with the root that is behind; both have all events then."""
    publish_when_possible(b, {"n": 20}, wait_until)
    wait_until(lambda: numbers(a) == numbers(b) == list(range(21)))
    assert log_bytes(a) == log_bytes(b)


def test_a_publish_of_an_epoch_that_another_thread_has_left_is_not_served(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Its own connection is opened after the other thread's, to a server that is not asked for the first time then."""
    with make("a") as a, make("b") as b:
        fall_behind(a, b, server, wait_until)
        coordinator = b._coordinator()
        once_before(coordinator._journal, "publish", lambda: lose_and_notice(server, coordinator))
        check_that_no_id_is_given_twice(a, b, wait_until)


def test_a_claim_of_an_epoch_that_another_thread_has_left_is_not_granted(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """It was asked for before, and comes after over the same connection."""
    with make("a") as a, make("b") as b:
        fall_behind(a, b, server, wait_until)
        coordinator = b._coordinator()
        once_before(coordinator._redis_claims._scripts._link, "run", lambda: lose_and_notice(server, coordinator))
        assert not is_granted(b, "taken", wait_until)
        wait_until(lambda: a.health()["mode"] == "connected")
        assert b.get_claim("taken").worker_id == a.worker_id


def test_a_server_that_is_replaced_while_a_root_joins_is_not_taken_for_the_one_before(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """It is the one that is joined that says which one it is."""
    with make("a") as a, make("b") as b:
        fall_behind(a, b, server, wait_until)
        coordinator = b._coordinator()
        coordinator._membership.epoch = None
        once_before(coordinator._journal, "join", lambda: go_back_to_snapshot(server))
        check_that_no_id_is_given_twice(a, b, wait_until)
