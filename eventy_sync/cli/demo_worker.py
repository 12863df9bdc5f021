"""A worker process of the demo: takes batches of lines by claims until none is left, or it is stopped.

A batch is done when a report of it is in the queue ``reports``.  The claim keeps two workers from
doing the same batch at a time; if its holder dies, it expires, and the batch is somebody else's.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from eventy_sync.file import FileEventQueue

BATCH_EVENTS = 50
CLAIM_SECONDS = 1.0
WORK_SECONDS = 0.04
"""What a batch takes beyond reading it: a stand-in for the database or the service a real one would ask."""


def parse_line(line: str) -> str:
    """Return the HTTP status in one line of an access log, combined format."""
    return line.rsplit('"', 5)[1].split()[0]


def main() -> None:
    """Work until every batch is reported."""
    directory = Path(sys.argv[1])
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    with (
        FileEventQueue[Any](directory / "lines", payload_type=dict, claim_expiration_seconds=CLAIM_SECONDS) as queue,
        FileEventQueue[Any](directory / "reports", payload_type=dict) as reports,
    ):
        while not stopping.is_set() and (open_batches := _open_batches(queue, reports)):
            if not sum(_try_batch(queue, reports, batch, stopping) for batch in open_batches):
                stopping.wait(CLAIM_SECONDS / 10)  # the rest is in other hands


def _open_batches(queue: FileEventQueue[Any], reports: FileEventQueue[Any]) -> list[int]:
    done = {event.payload["batch"] for event in reports.iter_events()}
    return [batch for batch in range(-(-queue.count_events() // BATCH_EVENTS)) if batch not in done]


def _try_batch(queue: FileEventQueue[Any], reports: FileEventQueue[Any], batch: int, stopping: threading.Event) -> bool:
    """Do one batch unless it is claimed, or was reported meanwhile; say whether it was done here."""
    with queue.claim(f"batch-{batch}") as claim:
        if stopping.is_set() or not claim.acquired or batch not in _open_batches(queue, reports):
            return False
        first_id = batch * BATCH_EVENTS + 1
        events = queue.batch_get_events(range(first_id, first_id + BATCH_EVENTS))
        statuses = Counter(parse_line(event.payload["line"]) for event in events if event is not None)
        stopping.wait(WORK_SECONDS)
        if claim.lost:
            return False  # somebody else may be at it by now
        reports.publish(
            {
                "batch": batch,
                "worker": str(queue.get_worker_id()),
                "token": claim.token,
                "lines": sum(statuses.values()),
                "statuses": dict(statuses),
            }
        )
        return True
