"""What a person has set up wrongly is said at once, and no secret with it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import FileEventQueue, QueueIdentityError, RedisConfigurationError
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make


def test_another_queue_of_the_same_name_is_refused(make: Make, tmp_path: Path) -> None:
    """The error names both and the ways out."""
    with make("a") as a:
        a.publish({"n": 0})
    with FileEventQueue[Any](tmp_path / "b", payload_type=dict) as alone:
        alone.publish({"n": 0})
    with pytest.raises(QueueIdentityError, match=r"another queue is called 'orders'.*redis_prefix="):
        make("b").open()


@pytest.mark.parametrize(
    ("config", "fields", "says"),
    [
        ({"requirepass": "hunter2"}, {}, "password"),
        ({"requirepass": "hunter2"}, {"redis_password": "wrong-secret"}, "password"),
        ({}, {"redis_db": 99}, "database"),
        ({}, {"redis_url": "redis://h/notanumber"}, "database number"),
        ({}, {"redis_url": "http://localhost"}, "must begin with redis://"),
    ],
)
def test_a_server_that_will_never_do_is_said_at_once(
    tmp_path: Path, config: dict[str, str], fields: dict[str, Any], says: str
) -> None:
    """Not degraded, but an error for a person; no secret in it, and nothing left open."""
    with RedisServer(**config) as server, pytest.raises(RedisConfigurationError, match=says) as raised:
        RedisFileEventQueue[Any](tmp_path / "a", **{"redis_url": server.url, **fields}).open()
    assert "hunter2" not in str(raised.value)
    assert "wrong-secret" not in str(raised.value)


def test_keys_of_something_else_are_said_at_once(make: Make, server: RedisServer) -> None:
    """A key of another type under our name."""
    server.command("SET", "eventy:orders:meta", "something else")
    with pytest.raises(RedisConfigurationError, match="redis_prefix"):
        make("a").open()
    server.command("DEL", "eventy:orders:meta")
    server.command("SET", "eventy:orders:next_event_id", "seven")
    with pytest.raises(RedisConfigurationError):
        make("a").open()


def test_no_password_is_ever_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in a repr, nor in health, nor in the log, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    with RedisServer(requirepass="hunter2") as server:
        url = server.url.replace("redis://", "redis://:hunter2@")
        queue = RedisFileEventQueue[Any](tmp_path / "a", redis_url=url)
        other = RedisFileEventQueue[Any](tmp_path / "b", redis_url=server.url, redis_password="hunter2")
        with queue:
            queue.publish(1)
            server.kill()
            queue.publish(2)
            text = f"{queue!r} {other!r} {queue.health()} {queue.redis_address} {caplog.text}"
    assert "degraded" in text
    assert ":***@" in text
    assert "hunter2" not in text
