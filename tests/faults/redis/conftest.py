"""Roots of one queue on a server of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Queue


@pytest.fixture
def make(tmp_path: Path, server: RedisServer) -> Callable[..., Queue]:
    """Make a root of the queue "orders"."""

    def make_queue(root: str = "a", **fields: Any) -> Queue:
        fields = {"name": "orders", "payload_type": dict, "redis_url": server.url, **fields}
        return RedisFileEventQueue(tmp_path / root, **fields)

    return make_queue


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """A proxy before the test's server, for the roots that are given its `url`."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    """Somebody else's connection to the server."""
    with redis.Redis(port=server.port, protocol=2) as client:
        yield client
