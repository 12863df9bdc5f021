"""Results on their way to the state store: many in one transaction for fast handlers, one for slow ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from eventy_sync.errors import QueueClosedError, StorageError
from eventy_sync.models import EventResult

logger = logging.getLogger(__name__)

MAX_RESULTS = 100
MAX_AGE_SECONDS = 0.05
RETRY_SECONDS = 1.0
MAX_KEPT = 10_000
"""While the store refuses, so many results wait for it; then the oldest are given up."""


class ResultBuffer:
    """Collects results and hands them on.  Delivery thread only."""

    def __init__(self, store: Callable[[Sequence[EventResult]], None]) -> None:
        self._store = store
        self._results: list[EventResult] = []
        self._due_deadline = 0.0

    def add(self, result: EventResult) -> None:
        """Keep a result; store all when there are enough, or the oldest has waited long enough."""
        if not self._results:
            self._due_deadline = max(self._due_deadline, time.monotonic() + MAX_AGE_SECONDS)
        self._results.append(result)
        is_full, is_slow = len(self._results) >= MAX_RESULTS, result.duration_seconds >= MAX_AGE_SECONDS
        if is_full or is_slow or time.monotonic() >= self._due_deadline:
            self.flush()

    def flush(self, *, at_end: bool = False) -> bool:
        """Store what there is; False if it has to wait because the store refused."""
        if not self._results:
            return True
        if not at_end and len(self._results) > MAX_RESULTS and time.monotonic() < self._due_deadline:
            return False  # it refused a moment ago
        try:
            self._store(self._results)
        except (StorageError, QueueClosedError) as exc:
            self._due_deadline = time.monotonic() + RETRY_SECONDS
            given_up = len(self._results) if at_end else max(0, len(self._results) - MAX_KEPT)
            del self._results[:given_up]
            logger.error("results not stored: waiting=%d given_up=%d error=%s", len(self._results), given_up, exc)
            return False
        self._results.clear()
        return True
