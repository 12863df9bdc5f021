"""Workers of a group in processes of their own, and what they have done."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import CoordinationError
from eventy_sync.delivery.outcomes import Outcomes
from eventy_sync.identifiers import new_id
from eventy_sync.storage.state import Lease, Settlement, Want
from tests.faults.redis.queues import Queue, Spawn, Wait

WORKER = """
    import os, sys, time
    from eventy_sync.redis import RedisFileEventQueue

    root, url, notes, lease_seconds, event_seconds = sys.argv[1:6]
    book = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def handle(event):
        os.write(book, b"%d\\n" % event.id)
        if float(event_seconds):
            time.sleep(float(event_seconds))

    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url) as queue:
        queue.subscribe(handle, group="work", from_index=1, lease_seconds=float(lease_seconds), backoff=0.01)
        print("ready", flush=True)
        sys.stdin.readline()
    print("closed", flush=True)
"""


class Crew:
    """Workers that note each event they begin to handle."""

    def __init__(self, directory: Path, url: str, spawn_python: Spawn) -> None:
        self._directory, self._url, self._spawn = directory, url, spawn_python
        self._hired = 0

    def hire(self, root: str, lease_seconds: float = 60.0, event_seconds: float = 0.0) -> subprocess.Popen[str]:
        """Start a worker on this root and wait until it takes part."""
        self._hired += 1
        notes = self._directory / f"{self._hired}.notes"
        worker = self._spawn(WORKER, self._directory / root, self._url, notes, lease_seconds, event_seconds)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        return worker

    def begun(self) -> Counter[int]:
        """Return how often each event was begun, in all processes."""
        lines = [line for path in self._directory.glob("*.notes") for line in path.read_text("ascii").splitlines()]
        return Counter(map(int, lines))


class Hand:
    """A worker that asks for leases by hand, through a proxy, on a root that knows of another one."""

    def __init__(self, queue: Queue, wait_until: Wait) -> None:
        self._queue, self._wait_until = queue, wait_until
        self._leases = queue._opened().coordinator.leases
        self._leases.begin("work", 1)
        wait_until(lambda: queue.health()["other_roots"] == 1)
        self._leases.exchange("work", queue.worker_id, None, Want(1, 0, 60.0, 1))  # the server knows the script now

    def ask(self, settlement: Settlement | None = None, *, wants: bool = True) -> list[Lease]:
        """Settle, ask for leases of events that have one attempt only, and return them."""
        self._wait_until(lambda: self._queue.health()["mode"] == "connected")
        want = Want(100, self._queue.health()["tail"], 60.0, 1) if wants else None
        return self._leases.exchange("work", self._queue.worker_id, settlement, want).leases

    def ask_in_vain(self, settlement: Settlement | None = None) -> None:
        """Do so while no reply comes."""
        self._wait_until(lambda: self._queue.health()["mode"] == "connected")
        with pytest.raises(CoordinationError):
            self.ask(settlement)

    def success(self, *leases: Lease) -> Settlement:
        """Return a settlement of handled events."""
        outcomes = Outcomes("work", self._queue.worker_id, new_id())
        for lease in leases:
            for event_id in range(lease.first_id, lease.last_id + 1):
                outcomes.succeed(lease, event_id, time.time_ns() // 1000, 5)
        return outcomes.take()


def dismiss(worker: subprocess.Popen[str], may_say: str = "") -> None:
    """Let a worker close its queue and end."""
    output, errors = worker.communicate("\n", timeout=60)
    assert (worker.returncode, output) == (0, "closed\n")
    assert errors in ("", may_say), errors


def fresh_successes(queue: Queue) -> Counter[int]:
    """Return how many fresh successes of the group each event has, as this root knows."""
    found: Counter[int] = Counter()
    page_id = None
    while True:
        page = queue.search_results(page_id, 1000)
        found.update(each.event_id for each in page.items if each.success and not each.stale and each.group == "work")
        if (page_id := page.next_page_id) is None:
            return found


def has_once(queue: Queue, last_id: int) -> Callable[[], bool]:
    """Return the question whether each event up to this one has one fresh success on this root."""
    return lambda: fresh_successes(queue) == Counter(range(1, last_id + 1))
