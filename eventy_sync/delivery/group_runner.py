"""A group's subscriber in this process: as many threads as it has concurrency, and the keeper of their leases."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from eventy_sync.delivery.group_thread import GroupThread, Membership
from eventy_sync.errors import CoordinationError, QueueClosedError, StorageError

logger = logging.getLogger(__name__)

KEEPER_SECONDS = 0.05
RENEWALS_PER_TERM = 3


class GroupRunner:
    """Verbs: start, stop, join, as a delivery thread has them; thread safe."""

    def __init__(self, name: str, membership: Membership, on_end: Callable[[], None]) -> None:
        # fixed after construction
        self.options = membership.options
        self._watcher, self._leases, self._on_end = membership.watcher, membership.leases, on_end
        self._threads = self._make_threads(name, membership)
        self._keeper = threading.Thread(target=self._keep, name=f"{name}-keeper", daemon=True)
        self._all_ended = threading.Event()
        self._lock = threading.Lock()
        # guarded by _lock
        self._running = len(self._threads)

    def _make_threads(self, name: str, membership: Membership) -> Sequence[GroupThread]:
        return [
            GroupThread(f"{name}-{number}", membership, self._thread_ended)
            for number in range(1, self.options.concurrency + 1)
        ]

    def start(self) -> None:
        """Start taking events."""
        self._keeper.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask for an end after the events that are being handled.  Returns at once; join to wait."""
        for thread in self._threads:
            thread.stop()
        self._watcher.wake_waiters()

    def join(self, timeout_seconds: float | None) -> bool:
        """Wait for the end; say whether it has come.  From inside the handler: waits for the other threads only."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        ended = [
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic())) for thread in self._threads
        ]
        return all(ended)

    def is_current(self) -> bool:
        """Return whether the caller runs in one of these threads."""
        return any(thread.is_current() for thread in self._threads)

    def has_handled(self, event_id: int) -> bool:
        """Return whether the group, in all its workers, has handled all events up to this one."""
        return self._leases.is_finished(self.options.name, event_id)

    @property
    def lost_events(self) -> int:
        """How many events it found lost."""
        return sum(thread.lost_events for thread in self._threads)

    @property
    def corrupt_records(self) -> int:
        """How many damages it has come upon."""
        return sum(thread.corrupt_records for thread in self._threads)

    def _thread_ended(self) -> None:
        with self._lock:
            self._running -= 1
            is_last = self._running == 0
        if is_last:
            self._all_ended.set()
            self._on_end()

    # -- the keeper ------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Renew leases in time, and relieve threads whose handlers are slow, until all threads have ended."""
        pause_seconds = self.options.lease_seconds / RENEWALS_PER_TERM
        renew_deadline = time.monotonic() + pause_seconds
        while not self._all_ended.wait(min(KEEPER_SECONDS, pause_seconds)):
            for thread in self._threads:
                self._attempt(thread.relieve)
            if time.monotonic() >= renew_deadline:
                renew_deadline = time.monotonic() + pause_seconds
                for thread in self._threads:
                    self._attempt(thread.renew)

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (StorageError, CoordinationError) as exc:
            logger.warning("leases not kept, trying again: group=%s error=%s", self.options.name, exc)
        except QueueClosedError:
            pass  # a handler outlives close(): its lease runs out
