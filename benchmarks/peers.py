"""The embedded peers: each one's way to put one payload, and to take and acknowledge one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import PAYLOAD, rate

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


def _drain_huey(directory: Path, count: int) -> float:
    from huey import SqliteHuey

    huey = SqliteHuey("bench", filename=f"{directory}.db", results=False)
    task = huey.task()(lambda payload: None)
    for _ in range(count):
        task(PAYLOAD)

    def work() -> None:
        while (found := huey.dequeue()) is not None:
            huey.execute(found)

    return rate(count, work)


def _drain_litequeue(directory: Path, count: int) -> float:
    from litequeue import LiteQueue

    queue = LiteQueue(f"{directory}.db")
    for _ in range(count):
        queue.put(json.dumps(PAYLOAD))

    def work() -> None:
        while (found := queue.pop()) is not None:
            json.loads(found.data)
            queue.done(found.message_id)

    return rate(count, work)


def _drain_persist_queue(directory: Path, count: int) -> float:
    import persistqueue

    queue = persistqueue.Queue(str(directory), autosave=True)
    for _ in range(count):
        queue.put(PAYLOAD)

    def work() -> None:
        for _ in range(count):
            queue.get(timeout=5)
            queue.task_done()

    return rate(count, work)


DRAINS: dict[str, Callable[[Path, int], float]] = {
    "huey, SQLite": _drain_huey,
    "litequeue": _drain_litequeue,
    "persist-queue, files": _drain_persist_queue,
}
