"""Events that are not due yet: passed by in the log, and handed out when their time has come.

Only when and which are kept, in memory: the event is read again when it is due.  A subscription that begins anew comes
by them again.
"""

from __future__ import annotations

import time
from heapq import heappop, heappush


def seconds_until(due: int) -> float:
    """Return the seconds until a time in microseconds, by the wall clock; 0.0 once it has come."""
    return max(0.0, (due - time.time_ns() // 1000) / 1_000_000)


class Delayed:
    """Changed by one thread only; `has_due` may be called from any."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []  # due, id

    def put(self, event_id: int, due: int) -> None:
        """Keep an event until this time, in microseconds UTC."""
        heappush(self._heap, (due, event_id))

    def has_due(self, last_id: int) -> bool:
        """Return whether the next one is due, and none of those behind `last_id`."""
        first = self._heap[:1]
        return bool(first) and first[0][1] <= last_id and seconds_until(first[0][0]) == 0.0

    def wait_seconds(self, most: float) -> float:
        """Return the seconds until the next one is due, `most` if that is later or there is none."""
        return min(most, seconds_until(self._heap[0][0])) if self._heap else most

    def next_due(self) -> int | None:
        """Return the event that is due first, if it is due."""
        if self._heap and seconds_until(self._heap[0][0]) == 0.0:
            return self._heap[0][1]
        return None

    def pop(self) -> None:
        """Let go of the event that is due first."""
        heappop(self._heap)
