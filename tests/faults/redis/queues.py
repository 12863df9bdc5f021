"""Queues on one test server, and what can be asked of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import CoordinationError
from eventy_sync.redis import RedisFileEventQueue

Queue = RedisFileEventQueue[Any]
Make = Callable[..., Queue]
Spawn = Callable[..., "subprocess.Popen[str]"]
Wait = Callable[..., None]


def log_bytes(queue: Queue) -> bytes:
    """Return all records of a root, whatever the segments."""
    parts = [path.read_bytes() for path in sorted(Path(queue.root_dir).glob("events/*.log"))]
    return b"".join(parts).replace(b"\n\n", b"\n")


def wait_for_mode(queue: Queue, mode: str, wait_until: Wait) -> None:
    wait_until(lambda: queue.health()["mode"] == mode)


def numbers(queue: Queue) -> list[int]:
    return [event.payload["n"] for event in queue.iter_events(queue.stats()["oldest"])]


def publish_when_possible(queue: Queue, payload: Any, wait_until: Wait, *others: Queue) -> None:
    """Publish, trying again while it is refused; other roots that do not deliver say how far they are by reading."""

    def attempt() -> bool:
        try:
            queue.publish(payload)
        except CoordinationError as exc:
            assert "was not published" in str(exc)  # noqa: PT017 - an unknown outcome must not be tried again
            for other in others:
                other.count_events()
            return False
        return True

    wait_until(attempt)


def outcome(queue: Queue, payload: Any) -> str:
    """Publish, and return "published", "refused" or, when nobody can say which, "unknown"."""
    try:
        queue.publish(payload)
    except CoordinationError as exc:
        says = {"was published is unknown": "unknown", "was not published": "refused"}
        return next(value for sign, value in says.items() if sign in str(exc))
    return "published"


def impatient(url: str) -> str:
    """Return an address that is given up after half a second, so that a test need not wait for the usual two."""
    return f"{url}?socket_timeout=0.5"


def settle(a: Queue, b: Queue, wait_until: Wait) -> list[int]:
    """Publish on both when they are whole again, wait for equal logs, and return all numbers but these two."""
    publish_when_possible(a, {"n": "last of a"}, wait_until, b)
    publish_when_possible(b, {"n": "last of b"}, wait_until, a)
    wait_until(lambda: numbers(a) == numbers(b) and log_bytes(a) == log_bytes(b))
    return [number for number in numbers(a) if isinstance(number, int)]


def is_granted(queue: Queue, claim_id: str, wait_until: Wait) -> bool:
    """Ask for the claim, again while the queue cannot say, and return the answer."""
    answers: list[bool] = []

    def ask() -> bool:
        try:
            answers.append(queue.create_claim(claim_id))
        except CoordinationError:
            return False
        return True

    wait_until(ask)
    return answers[0]


def move_wall_clock(monkeypatch: pytest.MonkeyPatch, by_seconds: float) -> None:
    """Let this process read another time from its wall clock, and the true ones from its other clocks."""
    time_ns, wall_time = time.time_ns, time.time

    class Moved(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(wall_time() + by_seconds, tz)

    monkeypatch.setattr("time.time_ns", lambda: time_ns() + int(by_seconds * 1_000_000_000))
    monkeypatch.setattr("time.time", lambda: wall_time() + by_seconds)
    monkeypatch.setattr("eventy_sync.redis.claim_records.datetime", Moved)
