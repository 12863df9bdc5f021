"""A group's thread: takes leases, runs the handler on their events, and settles what came of them.

The thread itself only ever waits inside the handler, for more events, and for the state of the group.  While it
is inside the handler another one, the keeper of its `GroupRunner`, may settle what is finished and give back what was
not begun.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from eventy_sync.delivery.delayed import seconds_until
from eventy_sync.delivery.delivery_thread import Handler
from eventy_sync.delivery.failures import describe, printable
from eventy_sync.delivery.group_options import GroupOptions
from eventy_sync.delivery.leases import LeaseAuthority
from eventy_sync.delivery.log_watcher import LogWatcher
from eventy_sync.delivery.outcomes import Outcomes
from eventy_sync.delivery.stoppable_thread import StoppableThread
from eventy_sync.errors import (
    CoordinationError,
    CorruptRecordError,
    QueueClosedError,
    StorageError,
)
from eventy_sync.models import QueueEvent
from eventy_sync.signals import RetryEvent, SkipEvent
from eventy_sync.storage.log import EventLog, StoredRecord
from eventy_sync.storage.state import Lease, Taken, Want

logger = logging.getLogger(__name__)

MAX_BATCH, BATCH_BYTES, BATCH_SECONDS = 1000, 4_194_304, 0.05
"""A batch holds as many events as are handled in this time, as far as can be told; and so long a result waits."""

SLOW_SECONDS = 0.1
"""A handler that takes longer lets others have what is behind its event."""

IDLE_SECONDS = 1.0
ERROR_PAUSE_SECONDS, LOOK_SECONDS = 1.0, 0.02
SAY_SECONDS = 60.0
_AVERAGE_SHARE = 0.3

_Item = tuple[Lease, "StoredRecord | CorruptRecordError"]


@dataclass(frozen=True, eq=False)
class Membership:
    """How this process takes part in a group, and what it needs for that."""

    options: GroupOptions
    subscription_id: UUID
    worker_id: UUID
    handler: Handler
    log: EventLog
    watcher: LogWatcher
    decode: Callable[[StoredRecord], QueueEvent[Any]]
    leases: LeaseAuthority
    on_progress: Callable[[], None]


class GroupThread(StoppableThread):
    """One thread of a group's subscriber; `renew` and `relieve` are for the keeper."""

    def __init__(
        self, name: str, membership: Membership, on_busy: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        super().__init__(name, self._run)
        # fixed after construction
        self._options, self._worker_id, self._leases = membership.options, membership.worker_id, membership.leases
        self._handler, self._decode = membership.handler, membership.decode
        self._on_busy, self._on_end = on_busy, on_end
        self._log, self._watcher, self._on_progress = membership.log, membership.watcher, membership.on_progress
        # this thread only
        self._reader = membership.log.reader(1)
        self._event_seconds: float | None = None  # that an event takes, on average
        self._said_at: dict[type[Exception], float] = {}
        self._lock = threading.Lock()
        # guarded by _lock
        self._outcomes = Outcomes(self._options.name, self._worker_id, membership.subscription_id)
        self._in_hand: deque[_Item] = deque()
        self._running: tuple[Lease, float] | None = None  # and since when, monotonic
        self._lost: tuple[Lease, float] | None = None  # what ran when its lease was found lost
        self._begin_deadline = 0.0  # behind it the leases in hand may have run out: none of their events is begun
        self._has_returned = False  # what others may have
        self._look_again = False  # set by others
        # written by this thread, read by others
        self.is_busy = False
        self.lost_events = 0
        self.corrupt_records = 0

    # -- this thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._take_turn()
        finally:
            self._end()

    def _end(self) -> None:
        self._give_all_back()
        self._reader.close()
        self._on_end()

    def _take_turn(self) -> None:
        """Settle, take leases and work on them, or wait."""
        self._look_again = False
        try:
            tail = self._log.tail()
            asked_at = time.monotonic()
            oldest, lease_seconds = self._log.oldest(), self._options.lease_seconds
            taken = self._exchange(Want(self._limit(), tail, lease_seconds, self._options.max_attempts, oldest))
            self._begin_deadline = asked_at + lease_seconds
            self._read(taken.leases, oldest)
        except (StorageError, CoordinationError) as exc:
            self._cannot_go_on(exc)
            return
        except QueueClosedError:  # the deadline of close() has passed while a handler was running
            self.stopping.set()
            return
        if taken.leases:
            self.is_busy = True
            self._on_busy()
            self._work()
            self.is_busy = False
        else:
            self._on_progress()
            self._wait_for_more(tail, taken.wait_seconds)

    def _cannot_go_on(self, exc: StorageError | CoordinationError) -> None:
        """Log why the group does not go on, once a minute for each kind of reason: it is tried again each second."""
        now = time.monotonic()
        if now - self._said_at.get(type(exc), -SAY_SECONDS) >= SAY_SECONDS:
            self._said_at[type(exc)] = now
            logger.error("group cannot go on, trying again: group=%s error=%s", self._options.name, exc)
        while not (self._look_again or self.stopping.wait(LOOK_SECONDS)):
            if time.monotonic() - now >= ERROR_PAUSE_SECONDS:
                return

    def _wait_for_more(self, tail: int, wait_seconds: float | None) -> None:
        seconds = IDLE_SECONDS if wait_seconds is None else min(IDLE_SECONDS, wait_seconds)
        self._watcher.wait_beyond(tail, max(seconds, 0.001), lambda: self._look_again or self.stopping.is_set())

    def _limit(self) -> int:
        if self._options.max_attempts == 1 or self._event_seconds is None:
            return 1  # with one attempt only, none may be charged to an event that was not begun
        fast_enough = int(BATCH_SECONDS / max(self._event_seconds, 1e-6))
        return max(1, min(MAX_BATCH, fast_enough, BATCH_BYTES // self._reader.record_bytes))

    def _exchange(self, want: Want | None) -> Taken:
        with self._lock:
            return self._exchange_locked(want)

    def _exchange_locked(self, want: Want | None) -> Taken:
        settlement = self._outcomes.take()
        try:
            return self._leases.exchange(self._options.name, self._worker_id, settlement, want)
        except BaseException:
            self._outcomes.put_back(settlement)
            raise

    def _read(self, leases: list[Lease], oldest: int) -> None:
        """Read the events of these leases; what cannot be read for now is given back.

        So is what this root had when it asked, when `oldest` was its oldest event, and has dropped since: others may
        have it still.
        """
        for position, lease in enumerate(leases):
            try:
                items = self._reader.read_range(lease.first_id, lease.last_id)
            except StorageError:
                for unread in leases[position:]:
                    self._give_back(unread, unread.first_id, unread.last_id)
                raise
            if isinstance(items[0] if items else None, CorruptRecordError):
                lease = self._without_dropped(lease, oldest)
            self._in_hand.extend((lease, item) for item in items if item.last_id >= lease.first_id)
            expected = items[-1].last_id + 1 if items else lease.first_id
            if expected <= lease.last_id:
                self._give_back(lease, expected, lease.last_id)

    def _without_dropped(self, lease: Lease, oldest: int) -> Lease:
        end = min(lease.last_id + 1, self._log.oldest())
        if end <= max(lease.first_id, oldest):
            return lease
        self._give_back(lease, lease.first_id, end - 1)
        return lease._replace(first_id=end)

    def _give_back(self, lease: Lease, first_id: int, last_id: int) -> None:
        with self._lock:
            self._outcomes.give_back(lease, first_id, last_id)

    def _work(self) -> None:
        """Handle what is in hand until a settlement is due."""
        started = now = time.monotonic()
        handled = 0
        while (item := self._next(now)) is not None:
            now = self._handle(*item)
            handled += 1
            if now - started >= BATCH_SECONDS:
                self._measure(now - started, handled)
                self._return_what_would_wait()
                self._exchange_quietly()
                started, handled = now, 0
        if handled:
            self._measure(now - started, handled)

    def _next(self, now: float) -> _Item | None:
        with self._lock:
            if not self._in_hand or self.stopping.is_set():
                return None
            if now >= self._begin_deadline:  # this process stood still, and others may have had them since
                self._return_the_rest_locked()
                return None
            item = self._in_hand.popleft()
            self._running = item[0], now
            return item

    def _return_what_would_wait(self) -> None:
        """If events take longer than when they were leased, let others have those behind the next batch."""
        with self._lock:
            self._has_returned |= self._return_the_rest_locked(self._limit())

    def _measure(self, seconds: float, handled: int) -> None:
        average, each = self._event_seconds, seconds / handled
        self._event_seconds = each if average is None else average + (each - average) * _AVERAGE_SHARE

    def _exchange_quietly(self) -> None:
        try:
            self._exchange(None)
        except (StorageError, CoordinationError, QueueClosedError) as exc:
            logger.warning("not settled yet: group=%s error=%s", self._options.name, exc)

    def _give_all_back(self) -> None:
        try:
            with self._lock:
                self._return_the_rest_locked()
                self._settle_locked()
        except (StorageError, CoordinationError, QueueClosedError) as exc:
            logger.error(
                "not settled, the events in hand will be handled again: group=%s error=%s", self._options.name, exc
            )

    # -- one event -------------------------------------------------------------------------------------------

    def _handle(self, lease: Lease, item: StoredRecord | CorruptRecordError) -> float:
        """Do one event, and return the monotonic time at its end."""
        started = time.monotonic()
        if isinstance(item, CorruptRecordError):
            self._pass_over(lease, item)
            return started
        if item.due is not None and seconds_until(item.due) > 0:
            self._put_off(lease, item.id, item.due)
            return started
        try:
            details = self._handler(self._decode(item))
        except (Exception, SystemExit) as exc:  # sys.exit() in a handler must not end delivery unseen
            ended = time.monotonic()
            self._conclude(lease, item.id, exc, int((ended - started) * 1e6))
        else:
            ended = time.monotonic()
            duration, ended_at = int((ended - started) * 1e6), time.time_ns() // 1000
            with self._lock:
                self._running = None
                if isinstance(details, str):
                    self._outcomes.finish(lease, item.id, item.id)
                    self._outcomes.tell(lease, item.id, True, printable(details), ended_at, duration)
                else:
                    self._outcomes.succeed(lease, item.id, ended_at, duration)
        return ended

    def _conclude(self, lease: Lease, event_id: int, exc: BaseException, duration: int) -> None:
        """Decide what becomes of an event that cannot be read, or whose handler raised."""
        ended_at = time.time_ns() // 1000
        with self._lock:
            self._running = None
            if isinstance(exc, SkipEvent):
                self._outcomes.finish(lease, event_id, event_id)
                return
            if isinstance(exc, RetryEvent):
                self._outcomes.try_again(lease, event_id, exc.delay_seconds, counts=False)
                return
            details = describe(exc)
            self._outcomes.tell(lease, event_id, False, details, ended_at, duration)
            if lease.attempt >= self._options.max_attempts:
                self._outcomes.die(lease, event_id, details)
            else:
                delay_seconds = self._options.backoff.delay_seconds(lease.attempt)
                self._outcomes.try_again(lease, event_id, delay_seconds, counts=True)
        logger.warning(
            "handler failed: group=%s event=%d attempt=%d of %d error=%s",
            self._options.name,
            event_id,
            lease.attempt,
            self._options.max_attempts,
            type(exc).__qualname__,
        )

    def _put_off(self, lease: Lease, event_id: int, due_at: int) -> None:
        """Let an event wait until it is due; whoever gets it then looks at the clock again."""
        with self._lock:
            self._running = None
            self._outcomes.put_off(lease, event_id, due_at)

    def _pass_over(self, lease: Lease, damage: CorruptRecordError) -> None:
        first_id, last_id = max(damage.first_id, lease.first_id), min(damage.last_id, lease.last_id)
        logger.error("events lost, the group goes on behind them: group=%s %s", self._options.name, damage)
        self.corrupt_records += 1
        self.lost_events += last_id - first_id + 1
        with self._lock:
            self._running = None
            self._outcomes.finish(lease, first_id, last_id)
            self._outcomes.tell(lease, first_id, False, str(damage), time.time_ns() // 1000, 0)

    # -- the keeper's thread ---------------------------------------------------------------------------------

    def renew(self) -> None:
        """Let the leases in hand last their whole term from now."""
        with self._lock:
            tokens = {lease.token for lease, _ in self._in_hand}
            running = self._running
        if running is not None and running is not self._lost:
            tokens.add(running[0].token)
        if not tokens:
            return
        asked_at, lease_seconds = time.monotonic(), self._options.lease_seconds
        held = self._leases.renew(self._options.name, self._worker_id, sorted(tokens), lease_seconds)
        with self._lock:
            lost = tokens - held
            self._in_hand = deque(item for item in self._in_hand if item[0].token not in lost)
            self._begin_deadline = max(self._begin_deadline, asked_at + lease_seconds)
            is_lost = running is not None and running[0].token in lost and self._running is running
            if is_lost:
                self._lost = running
        if is_lost:
            logger.warning("lease lost while its handler runs: group=%s", self._options.name)

    def relieve(self) -> bool:
        """If the handler is slow, settle what came before its event, and let others have what comes behind.

        Return whether there is anything for others, since the last time.
        """
        running = self._running
        is_slow = running is not None and (time.monotonic() - running[1] >= SLOW_SECONDS or self.stopping.is_set())
        if not (is_slow or self._has_returned):
            return False
        with self._lock:
            if is_slow and self._running is running:
                self._has_returned |= self._return_the_rest_locked()
                self._settle_locked()
            has_returned, self._has_returned = self._has_returned, False
        return has_returned

    def look_again(self) -> None:
        """Do not wait for more events, nor to try again: there may be work without."""
        self._look_again = True

    def _settle_locked(self) -> None:
        """Settle what there is, if there is anything."""
        if self._outcomes:
            self._exchange_locked(None)

    def _return_the_rest_locked(self, kept: int = 0) -> bool:
        """Give back what is in hand, but for so many events; return whether that was anything."""
        returned = len(self._in_hand) > kept
        while len(self._in_hand) > kept:
            lease, item = self._in_hand.pop()
            first_id = max(item.id if isinstance(item, StoredRecord) else item.first_id, lease.first_id)
            self._outcomes.give_back(lease, first_id, min(item.last_id, lease.last_id))
        return returned
