"""The same tests for every queue: the module's `FileEventQueue` is each of them in turn.

fakeredis runs our scripts in its own Lua and has no process, sockets or losses: it shows that the tests do not
lean on one server's ways.  It has no INFO, so a queue on it never learns that its server was started anew.  Its
`TcpFakeServer` will not do: it closes a connection after every error reply, NOSCRIPT among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import fakeredis
import pytest

from eventy_sync.redis import RedisFileEventQueue

T = TypeVar("T")


@pytest.fixture(autouse=True, params=["file", "fakeredis", "redis"])
def _each_queue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "file":
        return
    url, client, prefix = None, None, uuid4().hex
    if request.param == "redis":
        url = request.getfixturevalue("shared_server").url
    else:
        client = fakeredis.FakeRedis(server=fakeredis.FakeServer())

    @dataclass(eq=False)
    class OnTestServer(RedisFileEventQueue[T]):
        redis_url: Any = url
        redis_client: Any = field(default=client, repr=False)
        redis_prefix: str = prefix

    monkeypatch.setattr(request.module, "FileEventQueue", OnTestServer)
