"""A handler in another process: how much later it hears of what is published here."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.measure import PAYLOAD

EVERY_SECONDS = 0.002

_ON_A_QUEUE = """
import sys, time
from eventy_sync import FileEventQueue, RedisFileEventQueue
seen = []
with {queue} as queue:
    queue.subscribe(lambda event: seen.append(time.time() - event.payload["t"]))
    print("ready", flush=True)
    for _ in sys.stdin:
        queue.wait_until_idle(10)
        print(*seen, flush=True)
        seen.clear()
"""


def on_queue(queue: str) -> str:
    """Return the source of a program that handles what comes to this queue, an expression."""
    return _ON_A_QUEUE.format(queue=queue)


class Handling:
    """A process that handles what `publish` publishes; a context manager.

    The program says that it is ready, and then, for each line that it reads, how many seconds after their "t" it has
    handled events since.
    """

    def __init__(self, program: str, arguments: list[str], publish: Callable[[Any], object]) -> None:
        self._command, self._publish = [sys.executable, "-c", program, *arguments], publish

    def __enter__(self) -> Handling:
        self._worker = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._worker.stdout.readline()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._worker.communicate()

    def handled_after(self, events: int) -> list[float]:
        """Return the seconds from publish to handler, at 500 events a second."""
        pause = threading.Event()
        for _ in range(events):
            self._publish({**PAYLOAD, "t": time.time()})
            pause.wait(EVERY_SECONDS)
        self._worker.stdin.write("\n")
        self._worker.stdin.flush()
        return [float(each) for each in self._worker.stdout.readline().split()]


def p50_and_p99(seconds: list[float]) -> tuple[float, float]:
    """Return both, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] * 1000, ordered[len(ordered) * 99 // 100] * 1000
