"""A group's subscriber in this process: as many threads as it has concurrency, and the keeper of their leases."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from eventy_sync.delivery.group_thread import GroupThread, Membership
from eventy_sync.delivery.stoppable_thread import remaining
from eventy_sync.errors import CoordinationError, QueueClosedError, StorageError
from eventy_sync.waking import Hint

logger = logging.getLogger(__name__)

R = TypeVar("R")

KEEPER_SECONDS, ASLEEP_SECONDS = 0.05, 5.0
RENEWALS_PER_TERM = 3


class GroupRunner:
    """Verbs: start, stop, join, as a delivery thread has them; thread safe."""

    def __init__(self, name: str, membership: Membership, on_end: Callable[[], None]) -> None:
        # fixed after construction
        self.options = membership.options
        self._watcher, self._leases, self._on_end = membership.watcher, membership.leases, on_end
        self._threads = self._make_threads(name, membership)
        self._keeper = threading.Thread(target=self._keep, name=f"{name}-keeper", daemon=True)
        self._woken = Hint()
        self._is_keeper_asleep = False  # a hint only
        self._lock = threading.Lock()
        # guarded by _lock
        self._running = len(self._threads)

    def _make_threads(self, name: str, membership: Membership) -> Sequence[GroupThread]:
        return [
            GroupThread(f"{name}-{number}", membership, self._wake_keeper, self._thread_ended)
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

    def look_again(self) -> None:
        """Say that the group may have work without new events, as after a pause."""
        for thread in self._threads:
            thread.look_again()
        self._watcher.wake_waiters()

    def join(self, timeout_seconds: float | None) -> bool:
        """Wait for the end; say whether it has come.  From inside the handler: waits for the other threads only."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        ended = [thread.join(remaining(deadline)) for thread in self._threads]
        if all(ended):
            self._keeper.join(remaining(deadline))
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
            self._woken.give()
            self._on_end()

    def _wake_keeper(self) -> None:
        """Called when a thread has something in hand: nearly always the keeper is awake already."""
        if self._is_keeper_asleep:
            self._woken.give()

    # -- the keeper ------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Renew leases in time, and relieve threads whose handlers are slow, until all threads have ended."""
        term_seconds = self.options.lease_seconds / RENEWALS_PER_TERM
        renew_deadline = time.monotonic() + term_seconds
        while self._running:
            self._pause(min(KEEPER_SECONDS, term_seconds))
            try:
                relieved = [self._attempt(thread.relieve) for thread in self._threads]
                if any(relieved):  # others of this process may have nothing to do
                    self.look_again()
                if time.monotonic() >= renew_deadline:
                    renew_deadline = time.monotonic() + term_seconds
                    for thread in self._threads:
                        self._attempt(thread.renew)
            except QueueClosedError:
                return  # a handler outlives close(): its lease runs out

    def _pause(self, seconds: float) -> None:
        """Wait a while; as long as nobody has anything in hand, until somebody has."""
        self._is_keeper_asleep = True  # first: who begins from here on wakes us
        if any(thread.is_busy for thread in self._threads):
            self._is_keeper_asleep = False
            self._woken.wait(seconds)
        else:
            self._woken.wait(ASLEEP_SECONDS)
            self._is_keeper_asleep = False

    def _attempt(self, step: Callable[[], R]) -> R | None:
        try:
            return step()
        except (StorageError, CoordinationError) as exc:
            logger.warning("leases not kept, trying again: group=%s error=%s", self.options.name, exc)
            return None
