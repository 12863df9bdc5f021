"""A worker process of the demo: one of a group that shares the lines, until it is stopped."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path
from typing import Any

from eventy_sync.file import FileEventQueue
from eventy_sync.models import QueueEvent

GROUP = "statuses"
LEASE_SECONDS = 1.0
MAX_ATTEMPTS = 5
"""A line fails once with each of three workers, and one attempt is charged where a worker was killed."""

BACKOFF_SECONDS = 0.2
FLAKY_EVERY = 400
WORK_SECONDS = 0.001
"""What a line takes beyond reading it: a stand-in for the database or the service that a real handler asks."""

_pause = threading.Event()


def parse_line(line: str) -> str:
    """Return the HTTP status in one line of an access log, combined format.

    Raises:
        ValueError: it is no such line.
    """
    parts = line.rsplit('"', 5)
    if len(parts) != 6:
        raise ValueError("this is no line of an access log")
    return parts[1].split()[0]


class Handler:
    """Handles a line, and fails with every so many events once, as a service does that is away for a moment."""

    def __init__(self) -> None:
        self._failed: set[int] = set()

    def __call__(self, event: QueueEvent[dict[str, Any]]) -> str:
        """Return the line's status; it is kept as the result's details."""
        status = parse_line(event.payload["line"])
        _pause.wait(WORK_SECONDS)
        if event.id % FLAKY_EVERY == 0 and event.id not in self._failed:
            self._failed.add(event.id)
            raise ConnectionError("the service is away for a moment")
        return status


def main() -> None:
    """Work until SIGTERM."""
    logging.getLogger("eventy_sync").setLevel(logging.ERROR)  # that handlers fail is a part of the demo
    queue = FileEventQueue[Any](Path(sys.argv[1]) / "lines", payload_type=dict)
    queue.subscriber(
        Handler(),
        from_index=1,
        group=GROUP,
        max_attempts=MAX_ATTEMPTS,
        backoff=BACKOFF_SECONDS,
        lease_seconds=LEASE_SECONDS,
    )
    queue.run()
