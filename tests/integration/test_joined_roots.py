"""A root that has joined others in Redis, opened without Redis: read, but never numbered alone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from eventy_sync import (
    CoordinationError,
    EventResult,
    FileEventQueue,
    QueueIdentityError,
    RedisFileEventQueue,
)
from eventy_sync.file.identity import read_identity
from eventy_sync.redis.server import RedisServer

Make = Callable[..., "RedisFileEventQueue[Any]"]
REFUSED = r"belongs to the queue 'orders' that Redis coordinates.*redis_url=.*--redis-url"


@pytest.fixture
def make(tmp_path: Path, shared_server: RedisServer) -> Make:
    """Make a root of the queue "orders" under a prefix of the test's own."""
    prefix = uuid4().hex

    def make_queue(root: str = "a", **fields: Any) -> RedisFileEventQueue[Any]:
        fields = {"name": "orders", "payload_type": dict, "redis_url": shared_server.url, **fields}
        return RedisFileEventQueue(tmp_path / root, **{"redis_prefix": prefix, **fields})

    return make_queue


def test_a_joined_root_is_read_and_not_written_without_redis(make: Make, tmp_path: Path) -> None:
    """Publishing and claiming are refused with the way out; nothing is written; reading and health go on."""
    with make() as queue:
        queue.publish_many([{"n": 1}, {"n": 2}])
        queue.create_claim("held")
        with FileEventQueue[Any](tmp_path / "a", payload_type=dict) as alone:
            for attempt in (
                lambda: alone.publish({"n": 3}),
                lambda: alone.publish_many([{"n": 3}]),
                lambda: alone.create_claim("other"),
                lambda: alone.claim("other").__enter__(),
            ):
                with pytest.raises(CoordinationError, match=REFUSED):
                    attempt()
            assert [event.payload["n"] for event in alone.iter_events()] == [1, 2]
            assert alone.get_claim("held").worker_id == queue.worker_id
            health = alone.health()
            assert (health["mode"], health["tail"]) == ("file", 2)
            assert "nothing can be published or claimed" in health["reason"]
        assert queue.publish({"n": 3}).id == 3


def test_a_process_that_had_the_root_open_before_it_joined_notices(
    make: Make, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Before its next event and before its next claim, though it opened the root when that was alone."""
    with FileEventQueue[Any](tmp_path / "a", payload_type=dict) as alone:
        assert alone.publish({"n": 1}).id == 1
        assert alone.create_claim("early")
        with make("a") as joined, make("b") as other:
            assert joined.health()["mode"] == "connected"
            with pytest.raises(CoordinationError, match=REFUSED):
                alone.publish({"n": 2})
            with pytest.raises(CoordinationError, match=REFUSED):
                alone.create_claim("late")
            assert not joined.create_claim("early")
            assert other.publish({"n": 2}).id == 2
            wait_until(lambda: [event.payload["n"] for event in joined.iter_events()] == [1, 2])


def test_only_joining_makes_a_root_joined(make: Make, tmp_path: Path, server: RedisServer) -> None:
    """A root whose server never answered belongs to nobody; it is still a file queue."""
    server.kill()
    with make(redis_url=server.url) as queue:
        assert queue.publish({"n": 1}).id == 1
    assert read_identity(tmp_path / "a").joined is None
    with FileEventQueue[Any](tmp_path / "a", payload_type=dict) as alone:
        assert alone.publish({"n": 2}).id == 2


@pytest.mark.parametrize("fields", [{"name": "bills"}, {"redis_prefix": "elsewhere"}])
def test_a_root_cannot_belong_to_two_queues(make: Make, fields: dict[str, str]) -> None:
    """Another name or prefix is another numbering: refused, with what to give."""
    with make() as queue:
        queue.publish({"n": 1})
    with pytest.raises(QueueIdentityError, match=r"belongs to the queue 'orders'.*give it name='orders' and"):
        make(**fields).open()


def test_results_kept_without_redis_are_told_later(make: Make, tmp_path: Path, wait_until: Callable[..., None]) -> None:
    """A worker that only reads leaves results; the next process of the root that has Redis tells the others."""
    with make("a") as queue, make("b") as other:
        queue.publish({"n": 1})
        with FileEventQueue[Any](tmp_path / "a", payload_type=dict) as alone:
            alone.subscribe(lambda event: "done without Redis", from_index=1)
            assert alone.wait_until_idle(20)
        queue.request_resync()

        def told() -> list[EventResult]:
            other.count_events()
            return other.search_results(event_id__eq=1).items

        wait_until(told)
        assert told()[0].details == "done without Redis"


def test_the_command_line_refuses_to_number_alone(
    make: Make, tmp_path: Path, run_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """One line, exit code 1; looking is allowed."""
    with make() as queue:
        queue.publish({"n": 1})
    done = run_cli("publish", "-d", tmp_path / "a", "{}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the event was not published: this root belongs to the queue 'orders'")
    assert "--redis-url" in done.stderr
    assert run_cli("events", "-d", tmp_path / "a", "--json").stdout.startswith('{"id":1,')
