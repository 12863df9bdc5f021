"""What the bar of a worker says: handled, failed and lag since its start, from what the queue says of its root."""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime
from typing import Any

import msgspec

from eventy_sync.event_queue import EventQueue

READ_SECONDS = 0.5
READ_SHARE = 0.05
"""Reading takes no more than this part of the time: a long history is read less often."""
RATE_SECONDS = 5.0
_TRIES = 5


class Question(msgspec.Struct, frozen=True):
    """What is asked: since when, and whether this is the first time."""

    since: datetime
    is_first: bool


class Totals(msgspec.Struct, frozen=True):
    """What was read.

    Fields:
        results: all that the root has, of whatever age.
        since: how many of them have come since the question's time; only told the first time.
        failed: how many runs have failed since that time.
        lag: events that the groups have not got to, None without groups.
        cost_seconds: what reading took of a processor.
    """

    results: int
    since: int | None
    failed: int
    lag: int | None
    cost_seconds: float


def read_totals(queue: EventQueue[Any], question: Question) -> Totals:
    """Read the numbers of an open queue."""
    started = time.thread_time()
    stats = queue.stats()
    since = None
    for _ in range(_TRIES if question.is_first else 0):  # until no result comes in between
        since, stats, results = queue.count_results(created_at__gte=question.since), queue.stats(), stats["results"]
        if stats["results"] == results:
            break
    groups = stats["groups"].values()
    lag = sum(each["lag"] for each in groups) if groups else None
    failed = queue.count_results(created_at__gte=question.since, success__eq=False)
    return Totals(stats["results"], since, failed, lag, time.thread_time() - started)


class Tally:
    """Makes a line of what was read.  For one thread."""

    def __init__(self, since: datetime) -> None:
        self._since = since
        self._before = 0  # results that were there at the start
        self._next_at = 0.0
        self._totals: Totals | None = None
        self._handled = deque([(time.monotonic(), 0)])

    def question(self) -> Question | None:
        """Return what to read now; None while it is too early for that."""
        return None if self.seconds_to_question() else Question(self._since, self._totals is None)

    def seconds_to_question(self) -> float:
        """Return for how long it is too early."""
        return max(0.0, self._next_at - time.monotonic())

    def take(self, totals: Totals) -> None:
        """Go on with these."""
        now = time.monotonic()
        self._next_at = now + max(READ_SECONDS, totals.cost_seconds / READ_SHARE)
        if self._totals is None:
            self._before = totals.results - (totals.since or 0)
        self._totals = totals
        self._handled.append((now, max(0, totals.results - self._before)))
        while len(self._handled) > 2 and now - self._handled[0][0] > RATE_SECONDS:
            self._handled.popleft()

    def text(self, processes: int) -> str:
        """Return the line."""
        parts = [*self._counts(), f"{processes} process" + ("es" if processes != 1 else "")]
        return " · ".join(parts)

    def _counts(self) -> list[str]:
        if self._totals is None:
            return ["starting"]
        (first_at, first), (last_at, last) = self._handled[0], self._handled[-1]
        rate = (last - first) / (last_at - first_at) if last_at > first_at else 0.0
        counts = [f"handled {last:,} ({max(0.0, rate):,.0f}/s)", f"failed {self._totals.failed:,}"]
        return counts if self._totals.lag is None else [*counts, f"lag {self._totals.lag:,}"]
