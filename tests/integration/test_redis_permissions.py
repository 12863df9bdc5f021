"""The user that the documentation describes can do what a queue does, and has no permission that is not needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

import eventy_sync.redis
from eventy_sync import RedisConfigurationError, Subscriber
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.permissions import COMMANDS, missing_permissions
from eventy_sync.redis.server import RedisServer
from eventy_sync.redis.server_address import make_pool

Queue = RedisFileEventQueue[Any]
Wait = Callable[..., None]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "redis.rst"
OF_THE_TEST = {"flushall", "xtrim", "acl", "acl|log", "config", "config|resetstat"}
OF_EVERY_CONNECTION = {"auth", "client", "client|setinfo", "command"}  # need no permission, or are not missed


def documented_user() -> list[str]:
    """Return the words of the document's ACL SETUSER."""
    block = re.search(r"^    ACL SETUSER (.*?)\n\n", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1].split()


@dataclass
class Note(Subscriber[Any]):
    """A stored subscriber."""

    word: str

    def on_event(self, event: Any, event_queue: Any) -> str:
        return f"{self.word} {event.id}"


class UserOfTheDocument:
    """A server with the user, and queues that connect as that user."""

    def __init__(self, server: RedisServer, directory: Path, without: str = "") -> None:
        words = [word for word in documented_user() if word != without]
        server.command("ACL", "SETUSER", *words)
        server.command("CONFIG", "RESETSTAT")
        server.command("ACL", "LOG", "RESET")
        self._server, self._directory = server, directory
        name, password = words[0], next(word for word in words if word.startswith(">"))[1:]
        self.url = f"redis://{name}:{password}@127.0.0.1:{server.port}"

    def make(self, root: str, **fields: Any) -> Queue:
        return RedisFileEventQueue(
            self._directory / root, **{"name": "orders", "payload_type": dict, "redis_url": self.url, **fields}
        )

    def denied(self) -> list[str]:
        """Return what the server refused; redis-py does without naming itself."""
        entries = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in self._server.command("ACL", "LOG")]
        objects = {f"{each[b'reason'].decode()} {each[b'object'].decode()}" for each in entries}
        return sorted(each for each in objects if "client" not in each)

    def used(self) -> set[str]:
        """Return which commands were called since the start."""
        return {name.removeprefix("cmdstat_") for name in self._server.command("INFO", "commandstats")}


def exercise_group(a: Queue, b: Queue, wait_until: Wait) -> None:
    """Share events, let some wait and die, pause, requeue, and look at all of it."""

    def handle(event: Any) -> None:
        if event.payload["n"] % 2:
            raise ValueError("odd")

    for queue in (a, b):
        queue.subscribe(handle, group="work", max_attempts=2, backoff=0.01, lease_seconds=0.5)
    b.publish_many([{"n": number} for number in range(10)])
    wait_until(lambda: a.groups()[0].dead == 5)
    a.pause_group("work")
    wait_until(lambda: len(b.dead_letters("work").items) == 5)
    b.requeue("work", [b.dead_letters("work").items[0].event_id])
    b.requeue("work")
    a.resume_group("work")
    wait_until(lambda: a.groups()[0].dead == 5)


def exercise(user: UserOfTheDocument, server: RedisServer, wait_until: Wait) -> None:
    """Do all that asks the server for something."""
    with user.make("a", journal_length=100) as a, user.make("b") as b:
        exercise_group(a, b, wait_until)
        a.subscribe(Note("noted"))
        b.subscribe(lambda event: None)
        a.publish({"n": 1})
        b.publish_many([{"n": number} for number in range(2, 500)])
        wait_until(lambda: b.count_results(worker_id__eq=a.worker_id) > 0)
        assert a.create_claim("x", ttl_seconds=60)
        assert a.renew_claim("x")
        assert [each is not None for each in b.batch_get_claims(["x", "y"])] == [True, False]
        assert a.create_claim("y", ttl_seconds=60)
        assert a.release_claim("y")
        assert [each.id for each in b.search_claims().items] == ["x"]
        assert b.count_claims() == 1
        server.command("FLUSHALL")
        wait_until(lambda: a.publish({"n": 500}) and a.health()["mode"] == "connected")
        wait_until(lambda: b.publish({"n": 501}) and b.health()["mode"] == "connected")
        wait_until(lambda: a.groups()[0].lag == 0)
        assert not b.create_claim("x")
        tail = b.health()["tail"]
        server.command("XTRIM", "eventy:orders:journal", "MAXLEN", 1)
        with user.make("c", resync=True) as c:
            wait_until(lambda: c.count_events() == tail)
        pretend_that_a_root_is_awaited(server)
        assert b.publish({"n": 502}).id > tail
        server.command("DEL", "eventy:orders:next_event_id")
        assert b.publish({"n": 503}).id > tail + 1


def pretend_that_a_root_is_awaited(server: RedisServer) -> None:
    """One that nobody remembers, and that is forgotten therefore."""
    server.command("SADD", "eventy:orders:awaiting", "gone")
    server.command("HSET", "eventy:orders:meta", "awaiting", 1)


def permitted_commands(server: RedisServer) -> set[str]:
    """Return the commands that the document permits, as the server counts them."""
    counts_subcommands = server.version >= (7, 0)
    words = [word[1:] for word in documented_user() if word.startswith("+")]
    return {word if counts_subcommands else word.partition("|")[0] for word in words}


def test_the_documented_user_can_do_everything_and_no_permission_is_idle(
    server: RedisServer, tmp_path: Path, wait_until: Wait
) -> None:
    """Nothing is denied to it, and each command that it may use is used here, or in the source for rarer cases."""
    user = UserOfTheDocument(server, tmp_path)
    exercise(user, server, wait_until)
    assert user.denied() == []
    used = user.used() - OF_THE_TEST - OF_EVERY_CONNECTION
    assert used - permitted_commands(server) == set()
    assert permitted_commands(server) - used - commands_in_the_source() == set()


def commands_in_the_source() -> set[str]:
    """Return the commands that the package sends by itself, and those in its scripts."""
    package = Path(eventy_sync.redis.__file__).parent
    called = set()
    for pattern, expression in (("lua/*.lua", r"redis\.p?call\('(\w+)'"), ("*.py", r"\bcommand\(\s*\"([A-Z]+)\"")):
        for path in package.glob(pattern):
            if path.name != "server.py":  # not a client's, but a server for tests
                called |= {name.lower() for name in re.findall(expression, path.read_text("utf-8"))}
    return called


def test_every_command_in_the_source_is_permitted(server: RedisServer) -> None:
    """In the scripts and beside them, however seldom it is needed."""
    assert len(commands_in_the_source()) > 20
    assert commands_in_the_source() <= permitted_commands(server)


def test_without_info_everything_but_the_warnings_goes_on(
    server: RedisServer, tmp_path: Path, wait_until: Wait
) -> None:
    """As the document says."""
    user = UserOfTheDocument(server, tmp_path, without="+info")
    exercise(user, server, wait_until)
    assert user.denied() == ["command info"]


@pytest.mark.parametrize("permission", ["+evalsha", "+xadd", "+ping", "~eventy:*"])
def test_a_permission_that_is_missing_is_said_at_once(server: RedisServer, tmp_path: Path, permission: str) -> None:
    """The error names the document."""
    user = UserOfTheDocument(server, tmp_path, without=permission)
    with pytest.raises(RedisConfigurationError, match=r"docs/redis\.rst"), user.make("a") as queue:
        queue.publish({"n": 1})


def test_the_documented_user_may_do_nothing_else(server: RedisServer, tmp_path: Path) -> None:
    """No keys or channels of others, nothing that is dangerous."""
    user = UserOfTheDocument(server, tmp_path)
    with redis.Redis.from_url(user.url) as client:
        for command in (
            "GET other",
            "PUBLISH other x",
            "FLUSHALL",
            "KEYS *",
            "CONFIG GET *",
            "SCRIPT FLUSH",
            "ACL LIST",
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


def missing(user: UserOfTheDocument) -> list[str]:
    pool = make_pool(user.url, 0, None)
    try:
        return missing_permissions(pool, Keys("eventy", "orders"))
    finally:
        pool.disconnect()


def test_each_permission_of_the_document_is_tried_by_the_doctor(server: RedisServer, tmp_path: Path) -> None:
    """All of them and no others; the documented user lacks none, and no key is left."""
    assert {word[1:] for word in documented_user() if word.startswith("+")} == COMMANDS
    user = UserOfTheDocument(server, tmp_path)
    assert missing(user) == []
    assert user.denied() == []
    assert server.command("KEYS", "*") == []


def test_each_permission_that_is_missing_is_named(server: RedisServer, tmp_path: Path) -> None:
    """That one and no other, and whatever is missing, no key is left."""
    words = [word for word in documented_user() if word.startswith("+")]
    found = {}
    for word in words:
        server.command("ACL", "DELUSER", documented_user()[0])
        found[word] = missing(UserOfTheDocument(server, tmp_path, without=word))
        assert server.command("KEYS", "*") == []
    wanted = {word: [word] for word in words}
    if server.version < (7, 0):  # it knows no permission for a subcommand of a command that is permitted otherwise
        wanted["+script|load"] = found["+script|load"]
    assert found == wanted


@pytest.mark.parametrize(("without", "named"), [("~eventy:*", "~eventy:orders:*"), ("&eventy:*", "&eventy:orders:*")])
def test_keys_and_channels_that_one_may_not_touch_are_named(
    server: RedisServer, tmp_path: Path, without: str, named: str
) -> None:
    """Rather than every command that touches them."""
    assert missing(UserOfTheDocument(server, tmp_path, without=without)) == [named]
