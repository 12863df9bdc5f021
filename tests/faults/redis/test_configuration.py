"""What a person has set up wrongly is said at once, and no secret with it."""

from __future__ import annotations

import logging
import socket
import traceback
from pathlib import Path
from typing import Any

import pytest
import redis

from eventy_sync import EventyError, FileEventQueue, QueueIdentityError, RedisConfigurationError
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


@pytest.mark.parametrize(
    "name", ["next_event_id", "journal", "changes", "meta", "roots", "workers", "awaiting", "claims", "claim_ids"]
)
def test_keys_of_something_else_are_said_at_once(make: Make, server: RedisServer, name: str) -> None:
    """A key of another type under our name: the error names it, and says what can be done; which then helps."""
    key = f"eventy:orders:{name}"
    server.command("LPUSH", key, "something else")
    with pytest.raises(RedisConfigurationError, match=rf"choose another redis_prefix .*delete the key.* of {key}\b"):
        make("a").open()
    assert server.command("KEYS", "*") == [key.encode()]
    server.command("DEL", key)
    with make("a") as a:
        assert a.publish({"n": 1}).id == 1


def test_a_counter_that_does_not_count_is_said_at_once(make: Make, server: RedisServer) -> None:
    """It is named."""
    server.command("SET", "eventy:orders:next_event_id", "seven")
    with pytest.raises(RedisConfigurationError, match=r"redis_prefix.*eventy:orders:next_event_id is not"):
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


def test_a_user_without_permission_is_said_at_once(tmp_path: Path, server: RedisServer) -> None:
    """Which permission is missing, and where the list of them is; not degraded."""
    server.command("ACL", "SETUSER", "weak", "on", ">hunter2", "~*", "&*", "+@all", "-evalsha")
    url = server.url.replace("redis://", "redis://weak:hunter2@")
    with pytest.raises(RedisConfigurationError, match=r"docs/redis.rst.*evalsha") as raised:
        RedisFileEventQueue[Any](tmp_path / "a", redis_url=url).open()
    assert "hunter2" not in everything_shown_of(raised.value)


def everything_shown_of(error: BaseException) -> str:
    """Return the traceback with all errors it came from, and each that is shown there in other ways, too."""
    shown = ["".join(traceback.format_exception(error))]
    chained: BaseException | None = error
    while chained is not None:
        shown.append(f"{chained} {chained!r} {chained.args!r} {vars(chained)!r}")
        chained = chained.__cause__ or (None if chained.__suppress_context__ else chained.__context__)
    return "\n".join(shown)


WRONG = "wrong-hunter3"


@pytest.mark.parametrize("way", ["in the url", "as a field", "as a user in the url", "in a query", "in a client"])
@pytest.mark.parametrize("trouble", ["refused", "gone", "foreign port", "bad database", "bad option"])
def test_no_error_shows_a_password_however_it_is_looked_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str, trouble: str
) -> None:
    """With all errors it came from, in the log, in repr, in health: nowhere."""
    caplog.set_level(logging.DEBUG)
    with RedisServer(requirepass="hunter2") as server:
        address, path = f"127.0.0.1:{server.port}", {"bad database": "/99", "bad option": "/0"}.get(trouble, "")
        password = WRONG if trouble == "refused" else "hunter2"
        if trouble == "gone":
            server.kill()
        elif trouble == "foreign port":
            listener = socket.create_server(("127.0.0.1", 0))
            address = f"127.0.0.1:{listener.getsockname()[1]}"
        query = "?socket_timeout=0.2" + ("&no_such_option=1" if trouble == "bad option" else "")
        url, fields = f"redis://{address}{path}{query}", {}
        if way == "in the url":
            url = url.replace("//", f"//:{password}@")
        elif way == "as a user in the url":
            url = url.replace("//", f"//default:{password}@")
        elif way == "in a query":
            url += f"&password={password}"
        elif way == "as a field":
            fields = {"redis_password": password}
        else:
            fields = {"redis_client": redis.Redis.from_url(url, password=password)}
        shown = []
        try:
            queue = RedisFileEventQueue[Any](tmp_path / "a", redis_url=url, **fields)
            shown += [repr(queue), queue.redis_address]
            with queue:
                queue.publish(1)
                queue.create_claim("x")
                shown += [repr(queue.health()), repr(queue.stats()), repr(vars(queue).get("_engine"))]
        except EventyError as exc:
            shown.append(everything_shown_of(exc))
        if trouble == "foreign port":
            listener.close()
        text = "\n".join([*shown, caplog.text])
    assert len(text) > 100
    assert "hunter2" not in text
    assert WRONG not in text


def test_a_url_that_cannot_be_used_is_refused_without_its_password(tmp_path: Path) -> None:
    """Whatever is wrong with it, also when the password itself makes it so."""
    for url in (
        "http://:hunter2@localhost",
        "redis://:hunter2@localhost:notaport",
        "redis://:hunter2@localhost/notanumber",
        "redis://:hunter2@[::1",
        "redis://:hunter2/@localhost:1/0",
        "redis://:x/hunter2@localhost:1/0",
        "redis://user:hunter2#x@localhost",
        "redis://:hunter2\u2100@localhost",
        "redis://localhost?password=hunter2&db=x",
        "redis://:hunter2@localhost?socket_timeout=hunter2",
    ):
        with pytest.raises(RedisConfigurationError) as raised:
            RedisFileEventQueue[Any](tmp_path / "a", redis_url=url)
        assert "hunter2" not in everything_shown_of(raised.value), url
