"""A worker process of the demo with Redis: publishes its share, sees what everybody publishes, tries for a claim.

A share may be begun by one worker and ended by another: how far it is stands in the log.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

from eventy_sync.errors import CoordinationError
from eventy_sync.models import QueueEvent
from eventy_sync.redis import RedisFileEventQueue

QUEUE_NAME = "orders"
CLAIM_ID = "nightly-report"
CLAIM_SECONDS = 600.0
PACE_SECONDS = 0.01
"""Between two events of a worker: so that the demo lasts long enough for something to go wrong."""
_RETRY_SECONDS = 0.05
_LOOK_SECONDS = 1.0


class InOrder:
    """Sees every event once and in order, or says so in a failed result."""

    def __init__(self) -> None:
        self._last_id = 0

    def __call__(self, event: QueueEvent[Any]) -> None:
        """Look at one event."""
        if event.id != self._last_id + 1:
            raise RuntimeError(f"event {event.id} came after event {self._last_id}")
        self._last_id = event.id


def make_queue(root: Path, url: str, password: str | None, prefix: str, **fields: Any) -> RedisFileEventQueue[Any]:
    """Return the demo's queue as it is on one host."""
    return RedisFileEventQueue(
        root,
        payload_type=dict,
        name=QUEUE_NAME,
        redis_url=url,
        redis_password=password,
        redis_prefix=prefix,
        claim_expiration_seconds=CLAIM_SECONDS,
        **fields,
    )


def main() -> None:
    """Work until told to stop.  URL and password come by the environment: others can read a command line."""
    root, prefix, worker_id, worker, share, events, demo = sys.argv[1:8]
    stopping = threading.Event()
    logging.getLogger("eventy_sync").setLevel(logging.ERROR)  # that Redis goes away is what is shown
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=_stop_with_the_demo, args=(int(demo), stopping), daemon=True).start()
    url, password = os.environ["EVENTY_REDIS_URL"], os.environ["EVENTY_REDIS_PASSWORD"] or None
    with make_queue(Path(root), url, password, prefix, worker_id=UUID(worker_id)) as queue:
        queue.subscribe(InOrder(), from_index=1)
        _try_claim(queue, worker, stopping)
        _publish_share(queue, worker, share, int(events), stopping)
        stopping.wait()


def _stop_with_the_demo(demo: int, stopping: threading.Event) -> None:
    """Stop when the demo is no more, as when it was killed with -9."""
    while not stopping.wait(_LOOK_SECONDS):
        if os.getppid() != demo:
            stopping.set()


def _try_claim(queue: RedisFileEventQueue[Any], worker: str, stopping: threading.Event) -> None:
    """Take the claim if nobody has it, and say so."""
    while not stopping.is_set():
        try:
            if queue.create_claim(CLAIM_ID, {"worker": worker}):
                queue.publish({"claimed": CLAIM_ID, "worker": worker})
            return
        except CoordinationError:
            _wait_for_redis(queue, stopping)


def _publish_share(
    queue: RedisFileEventQueue[Any], worker: str, share: str, events: int, stopping: threading.Event
) -> None:
    for number in range(_last_number(queue, share, 1) + 1, events + 1):
        payload = {"share": share, "n": number, "worker": worker}
        while not (stopping.wait(PACE_SECONDS) or _publish(queue, payload, stopping)):
            pass


def _publish(queue: RedisFileEventQueue[Any], payload: dict[str, Any], stopping: threading.Event) -> bool:
    """Publish once, whatever happens to Redis meanwhile: look into the log before trying again."""
    before = queue.count_events()
    try:
        queue.publish(payload)
        return True
    except CoordinationError:
        _wait_for_redis(queue, stopping)
        return bool(_last_number(queue, payload["share"], before + 1) == payload["n"])


def _wait_for_redis(queue: RedisFileEventQueue[Any], stopping: threading.Event) -> None:
    while queue.health()["mode"] != "connected" and not stopping.wait(_RETRY_SECONDS):
        pass


def _last_number(queue: RedisFileEventQueue[Any], share: str, from_id: int) -> int:
    """Return how far this share has come, as far as that is in the log from an event on; 0 if it is not."""
    numbers = [event.payload["n"] for event in queue.iter_events(from_id) if event.payload.get("share") == share]
    return max(numbers, default=0)
