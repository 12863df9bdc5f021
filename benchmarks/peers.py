"""The embedded peers: each one's way to put one payload."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Put = Callable[[dict[str, Any]], object]


def litequeue(directory: Path) -> Put:
    """SQLite."""
    from litequeue import LiteQueue

    queue = LiteQueue(f"{directory}.db")
    return lambda payload: queue.put(json.dumps(payload))


def huey_sqlite(directory: Path) -> Put:
    """SQLite, as a task queue."""
    from huey import SqliteHuey

    huey = SqliteHuey("bench", filename=f"{directory}.db", results=False)
    task = huey.task()(lambda payload: None)
    return lambda payload: task(payload)


def persist_queue(directory: Path) -> Put:
    """Files."""
    import persistqueue

    queue = persistqueue.Queue(str(directory), autosave=True)
    return queue.put


def diskcache_deque(directory: Path) -> Put:
    """SQLite, without acknowledgement."""
    import diskcache

    return diskcache.Deque(directory=str(directory)).append


PEERS: dict[str, Callable[[Path], Put]] = {
    "litequeue": litequeue,
    "huey, SQLite": huey_sqlite,
    "persist-queue, files": persist_queue,
    "diskcache.Deque": diskcache_deque,
}
