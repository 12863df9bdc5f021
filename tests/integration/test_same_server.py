"""Whether a server is the one of before: it says so itself, where and when it counts; arrive.lua and join.lua."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from eventy_sync import RedisConfigurationError
from eventy_sync.redis.journal import Joined, Journal
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link
from eventy_sync.redis.server import RedisServer
from eventy_sync.redis.server_address import make_pool
from eventy_sync.redis.server_info import SameServer
from eventy_sync.redis.sessions import Sessions

QUEUE, ROOT, WORKER = (UUID(int=number) for number in range(1, 4))
OTHER = "root-a"


class Root:
    """A root that has joined in the epoch "e1" a server that has five events, and the connections it opens."""

    def __init__(self, server: RedisServer, user: str = "") -> None:
        self.server, self.keys = server, Keys("eventy", "orders")
        self.pool = make_pool(server.url.replace("//", f"//{user}"), 0, None)
        self.epoch: bytes | None = b"e1"
        self.opened: list[Any] = []
        self.link = Link(self._connection, SameServer(self.keys, self._leave_epoch).check)
        self.journal = Journal(self.keys, ROOT, WORKER, 1000, self.link, self.link, Sessions())
        server.command("SET", self.keys.next_event_id, 6)
        server.command("XADD", self.keys.journal, "5-0", "a", 1, "f", "x")
        self.say(queue_id=str(QUEUE), epoch="e1", run_id=self.run_id)

    @property
    def run_id(self) -> str:
        """Which server it is."""
        return str(self.server.command("INFO", "server")["run_id"])

    def say(self, **meta: str) -> None:
        """Let the server believe this."""
        self.server.command("HSET", self.keys.meta, *(part for pair in meta.items() for part in pair))

    def meta(self) -> dict[bytes, bytes]:
        """Return what the server believes."""
        found: dict[bytes, bytes] = self.server.command("HGETALL", self.keys.meta)
        return found

    def join(self, tail: int) -> Joined:
        reply = self.journal.join(QUEUE, tail, b"{}", 0, [OTHER], adopts=False)
        assert isinstance(reply, Joined)
        return reply

    def _connection(self) -> Any:
        self.opened.append(self.pool.make())
        return self.opened[-1]

    def _leave_epoch(self, present: bytes) -> bool:
        had_joined = self.epoch not in (None, present)
        if had_joined:
            self.epoch = None
        return had_joined


@pytest.fixture
def root(server: RedisServer) -> Iterator[Root]:
    """A root of one server."""
    made = Root(server)
    yield made
    made.link.close()


@pytest.fixture
def root_that_may_not_ask(server: RedisServer) -> Iterator[Root]:
    """Its user has no permission for INFO."""
    server.command("ACL", "SETUSER", "weak", "on", ">hunter2", "~*", "&*", "+@all", "-info")
    made = Root(server, "weak:hunter2@")
    yield made
    made.link.close()


def test_a_connection_to_the_server_of_before_changes_nothing(root: Root) -> None:
    """However often one is opened."""
    before = root.meta()
    for _ in range(3):
        assert root.link.command("PING") in (b"PONG", "PONG")
        root.link.close()
    assert root.meta() == before
    assert root.epoch == b"e1"


def test_a_connection_to_another_server_ends_the_epoch_there(root: Root) -> None:
    """Before anything else is asked; this root learns it once, and may then join."""
    root.say(run_id="of another one")
    with pytest.raises(Exception, match="another one has taken its place"):
        root.link.command("INCRBY", "asked", 1)
    assert root.epoch is None
    assert root.server.command("GET", "asked") is None
    assert b"epoch" not in root.meta()
    assert root.link.command("INCRBY", "asked", 1) == 1
    assert [each._sock is not None for each in root.opened] == [False, True]


def test_who_comes_when_others_have_joined_another_server_learns_it_too(root: Root) -> None:
    """Its epoch is not the one that the server has."""
    root.say(epoch="e2")
    with pytest.raises(Exception, match="another one has taken its place"):
        root.link.command("PING")
    assert root.epoch is None
    assert root.meta()[b"epoch"] == b"e2"


@pytest.mark.parametrize("run_id", ["of another one", ""])
def test_who_may_not_ask_leaves_the_epoch_as_it_is(root_that_may_not_ask: Root, run_id: str) -> None:
    """Nobody knows then."""
    root_that_may_not_ask.say(run_id=run_id)
    assert root_that_may_not_ask.link.command("PING") in (b"PONG", "PONG")
    assert root_that_may_not_ask.meta()[b"epoch"] == b"e1"


def test_a_server_that_has_something_else_there_says_so(root: Root) -> None:
    """The key is named; no connection is left open, and the next one finds what was put right."""
    root.server.command("DEL", root.keys.meta)
    root.server.command("SET", root.keys.meta, "x")
    with pytest.raises(RedisConfigurationError, match=r"choose another redis_prefix.*eventy:orders:meta"):
        root.link.command("PING")
    root.server.command("DEL", root.keys.meta)
    root.epoch = None
    assert root.link.command("PING") in (b"PONG", "PONG")
    assert [each._sock is not None for each in root.opened] == [False, True]


@pytest.mark.parametrize("tail", [0, 3, 5, 6])
def test_joining_the_server_of_before_keeps_the_epoch(root: Root, tail: int) -> None:
    """It has lost nothing; a root that is ahead of it has published alone."""
    assert root.join(tail).epoch == b"e1"
    assert root.journal.awaited() == []


@pytest.mark.parametrize("run_id", ["of another one", ""])
@pytest.mark.parametrize("tail", [3, 5])
def test_joining_another_server_begins_an_epoch(root: Root, run_id: str, tail: int) -> None:
    """Also where the connection was open before; the others are awaited, and the second to join changes nothing."""
    assert root.link.command("PING") in (b"PONG", "PONG")
    root.say(run_id=run_id)
    reply = root.join(tail)
    assert reply.epoch != b"e1"
    assert root.meta()[b"run_id"] == root.run_id.encode()
    assert root.journal.awaited() == [OTHER]
    assert root.join(tail).epoch == reply.epoch


@pytest.mark.parametrize(("tail", "is_new"), [(5, False), (6, True)])
def test_where_one_may_not_ask_being_ahead_alone_begins_an_epoch(
    root_that_may_not_ask: Root, tail: int, is_new: bool
) -> None:
    """It may have lost something, or the root may have published alone."""
    root_that_may_not_ask.say(run_id="of another one")
    assert (root_that_may_not_ask.join(tail).epoch != b"e1") is is_new


def test_a_replica_ends_no_epoch(root: Root, wait_until: Any) -> None:
    """It may not write; whoever is sent there is told so, as by any other command."""
    with RedisServer() as replica:
        replica.command("REPLICAOF", "127.0.0.1", root.server.port)
        wait_until(lambda: replica.command("HEXISTS", root.keys.meta, "epoch"))
        link = Link(make_pool(replica.url, 0, None).make, SameServer(root.keys, lambda present: False).check)
        with pytest.raises(Exception, match="READONLY"):
            link.command("PING")
        link.close()
        replica.command("REPLICAOF", "NO", "ONE")
        assert link.command("PING") in (b"PONG", "PONG")
        assert replica.command("HEXISTS", root.keys.meta, "epoch") == 0
        link.close()
