"""A Redis server in this process: fakeredis, asked over our own links, and what is published on its channel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link
from eventy_sync.redis.messages import Inbox, Message
from eventy_sync.redis.server_address import pool_of
from eventy_sync.storage.state import StateStore


class Fake:
    """A server with nothing in it, the keys of a queue there, and connections to it."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.client = fakeredis.FakeRedis(server=self.server)
        self.pool = pool_of(self.client)
        self.keys = Keys("eventy", "orders")
        self.link = Link(self.pool.make)
        self._pubsub: Any = self.client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(self.keys.channel)
        self._pubsub.get_message()

    def published(self) -> list[Message | None]:
        """Return what was published since the last time, as whoever listens understands it."""
        inbox, found = Inbox(), []
        while (item := self._pubsub.get_message()) is not None:
            found.append(inbox.open(item["data"]))
        return found

    def begin_epoch(self, epoch: str, **meta: Any) -> None:
        """Let this be the present epoch, with these other fields of `meta`."""
        self.client.hset(self.keys.meta, mapping={"epoch": epoch, **meta})

    def meta(self) -> dict[bytes, bytes]:
        """Return the hash of that name."""
        found: dict[bytes, bytes] = self.client.hgetall(self.keys.meta)
        return found

    def everything(self) -> dict[bytes, bytes | None]:
        """Return all keys and what is in them, to be compared."""
        return {name: self.client.dump(name) for name in self.client.scan_iter()}

    def close(self) -> None:
        """Close the connections."""
        self.link.close()
        self._pubsub.close()
        self.client.close()


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A server of the test's own."""
    made = Fake()
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    """A state store of its own, with an outbox."""
    opened = StateStore(tmp_path / "state.db", tells_others=True)
    yield opened
    opened.close()
