"""The same tests for every queue: the module's `FileEventQueue` is each of them in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from eventy_sync.redis import RedisFileEventQueue

T = TypeVar("T")


@pytest.fixture(autouse=True, params=["file", "redis"])
def _each_queue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "file":
        return
    url, prefix = request.getfixturevalue("shared_server").url, uuid4().hex

    @dataclass(eq=False)
    class OnTestServer(RedisFileEventQueue[T]):
        redis_url: Any = url
        redis_prefix: str = prefix

    monkeypatch.setattr(request.module, "FileEventQueue", OnTestServer)
