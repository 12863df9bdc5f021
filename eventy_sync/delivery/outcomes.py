"""What came of the events that a worker has in hand, until it is settled."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from eventy_sync.identifiers import new_id
from eventy_sync.models import EventResult
from eventy_sync.storage.state import Death, Lease, Retry, Settlement, from_microseconds, make_runs


class Outcomes:
    """Collects a settlement.  Not thread safe: its owner has a lock.

    Times are in microseconds since 1970, UTC, durations in microseconds.
    """

    def __init__(self, group: str, worker_id: UUID, subscription_id: UUID) -> None:
        self._group, self._worker_id, self._subscription_id = group, worker_id, subscription_id
        self._settlement = Settlement()
        self._retries: list[tuple[Retry, float]] = []  # and the monotonic time from which its delay counts
        # plain successes on consecutive events of one lease
        self._lease: Lease | None = None
        self._first_id = self._next_id = 0
        self._ended_at: list[int] = []
        self._durations: list[int] = []

    def succeed(self, lease: Lease, event_id: int, ended_at: int, duration: int) -> None:
        """The event was handled, and there is nothing to say about it."""
        if lease is not self._lease or event_id != self._next_id:
            self._end_run()
            self._lease, self._first_id = lease, event_id
        self._next_id = event_id + 1
        self._ended_at.append(ended_at)
        self._durations.append(duration)

    def finish(self, lease: Lease, first_id: int, last_id: int) -> None:
        """These events are finished, without a result."""
        self._settlement.done.append(lease._replace(first_id=first_id, last_id=last_id))

    def tell(
        self, lease: Lease, event_id: int, success: bool, details: str | None, ended_at: int, duration: int
    ) -> None:
        """Keep a result that has something to say."""
        at = from_microseconds(ended_at)
        self._settlement.results.append(self._result(lease, event_id, success, details, at, duration))

    def _result(
        self, lease: Lease, event_id: int, success: bool, details: str | None, at: datetime, duration: int
    ) -> EventResult:
        return EventResult(
            id=new_id(at),
            event_id=event_id,
            worker_id=self._worker_id,
            success=success,
            details=details,
            created_at=at,
            subscription_id=self._subscription_id,
            group=self._group,
            attempt=lease.attempt,
            token=lease.token,
            duration_seconds=duration / 1_000_000,
        )

    def try_again(self, lease: Lease, event_id: int, delay_seconds: float, *, counts: bool) -> None:
        """The event is to be handled again in so many seconds; `counts` says whether this attempt does."""
        attempts = lease.attempt if counts else lease.attempt - 1
        self._retries.append((Retry(event_id, lease.token, attempts, delay_seconds), time.monotonic()))

    def put_off(self, lease: Lease, event_id: int, due_at: int) -> None:
        """The event was not begun, for it is not due before then."""
        self._retries.append((Retry(event_id, lease.token, lease.attempt - 1, 0.0, due_at), time.monotonic()))

    def die(self, lease: Lease, event_id: int, details: str) -> None:
        """The event has failed for good."""
        self._settlement.deaths.append(Death(event_id, lease.token, lease.attempt, details))

    def give_back(self, lease: Lease, first_id: int, last_id: int) -> None:
        """These events were not begun.  Those of a lease come from its end on, mostly: they become one part."""
        returned = self._settlement.returned
        if returned and (returned[-1].token, returned[-1].first_id) == (lease.token, last_id + 1):
            last_id = returned.pop().last_id
        returned.append(lease._replace(first_id=first_id, last_id=last_id))

    def _end_run(self) -> None:
        if (lease := self._lease) is None:
            return
        self.finish(lease, self._first_id, self._next_id - 1)
        self._settlement.runs += make_runs(
            self._first_id,
            self._ended_at,
            self._durations,
            worker_id=self._worker_id,
            group=self._group,
            subscription_id=self._subscription_id,
            attempt=lease.attempt,
            token=lease.token,
        )
        self._lease, self._ended_at, self._durations = None, [], []

    def __bool__(self) -> bool:
        return bool(self._lease is not None or self._retries or self._settlement)

    def take(self) -> Settlement:
        """Return what was collected, and begin anew.  Delays count from this moment on: some have passed already."""
        self._end_run()
        now = time.monotonic()
        settlement, self._settlement = self._settlement, Settlement()
        for retry, since in self._retries:
            settlement.retries.append(retry._replace(delay_seconds=max(0.0, retry.delay_seconds - (now - since))))
        self._retries = []
        return settlement

    def put_back(self, settlement: Settlement) -> None:
        """Keep what could not be settled, to be taken again with what comes."""
        self._end_run()
        now = time.monotonic()
        self._retries += [(retry, now) for retry in settlement.retries]
        self._settlement = replace(settlement, retries=[]).joined(self._settlement)
