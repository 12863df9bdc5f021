"""The dispatcher: the delivery threads and the log watcher of one open queue.

Whoever subscribes makes this process one that delivers; from then on it also runs the stored
subscriptions of others whose classes it has.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from eventy_sync.delivery.delivery_thread import DeliveryThread, Handler
from eventy_sync.delivery.group_options import GroupOptions
from eventy_sync.delivery.group_runner import GroupRunner
from eventy_sync.delivery.group_thread import Membership
from eventy_sync.delivery.leases import LeaseAuthority
from eventy_sync.delivery.log_watcher import LogWatcher
from eventy_sync.delivery.stoppable_thread import remaining
from eventy_sync.errors import EventyError, InvalidArgumentError
from eventy_sync.event_queue import EventQueue
from eventy_sync.models import QueueEvent, Subscription
from eventy_sync.storage.log import EventLog, StoredRecord
from eventy_sync.storage.state import StateStore, StoredSubscription
from eventy_sync.stored_subscriber import decode_subscriber
from eventy_sync.subscribers import Subscriber
from eventy_sync.waking import Bell

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 0.05


class Dispatcher(Generic[T]):
    """Thread safe.  Lock order: `_lock` before the watcher's own lock; no handler runs under either."""

    _thread_class: ClassVar[type[DeliveryThread]] = DeliveryThread
    _runner_class: ClassVar[type[GroupRunner]] = GroupRunner

    def __init__(
        self,
        *,
        queue: EventQueue[T],
        queue_name: str,
        worker_id: UUID,
        log: EventLog,
        store: StateStore,
        leases: LeaseAuthority,
        decode: Callable[[StoredRecord], QueueEvent[T]],
        on_watch: Callable[[], None],
        on_tick: Callable[[], None],
        is_tick_due: Callable[[], bool],
    ) -> None:
        # fixed after construction
        self._queue, self._queue_name, self._worker_id = queue, queue_name, worker_id
        self._log, self._store, self._leases, self._decode = log, store, leases, decode
        self._opened_tail = log.tail()
        self._on_tick = on_tick
        self._watcher = LogWatcher(
            f"eventy-{queue_name}-watcher", log.tail, self._tick, on_watch, is_tick_due, log.directory
        )
        self._progress = Bell()
        self._lock = threading.RLock()
        # guarded by _lock
        self._threads: dict[UUID, DeliveryThread | GroupRunner] = {}
        self._subscriptions: dict[UUID, Subscription[Any]] = {}
        self._unknown: set[UUID] = set()  # stored ones whose class is not here: said once
        self._running = 0
        self._delivers = False
        self._is_stopping = False
        self._on_ended: Callable[[], None] | None = None
        self._ended_corrupt = self._ended_lost = 0
        # watcher thread only, but for the first look
        self._version = -1

    # -- subscriptions ---------------------------------------------------------------------------------------

    def start(self, subscription: Subscription[Any], group: GroupOptions | None = None) -> None:
        """Deliver to this subscription, from its start on, or to its part of a group."""
        self._start(subscription, group)
        self._watcher.start()

    def _start(self, subscription: Subscription[Any], group: GroupOptions | None = None) -> None:
        with self._lock:
            self._delivers = True
            if self._is_stopping or subscription.id in self._threads:
                return
            if group is None:
                thread: DeliveryThread | GroupRunner = self._make_thread(subscription)
            else:
                thread = self._make_runner(subscription, group)
            self._threads[subscription.id] = thread
            self._subscriptions[subscription.id] = subscription
            self._running += 1
            thread.start()

    def _make_thread(self, subscription: Subscription[Any]) -> DeliveryThread:
        return self._thread_class(
            name=f"eventy-{self._queue_name}-delivery-{subscription.id.hex[-6:]}",
            subscription_id=subscription.id,
            worker_id=self._worker_id,
            handler=self._handler_of(subscription.subscriber),
            reader=self._log.reader(subscription.from_index),
            get=self._log.get,
            watcher=self._watcher,
            decode=self._decode,
            store_results=self._store.results.add_many,
            on_progress=self._progress.ring,
            on_end=self._thread_ended,
        )

    def check_options(self, options: GroupOptions) -> None:
        """Raise InvalidArgumentError if this process takes part in the group with other options."""
        for known in self._runners():
            if known.options.name == options.name and known.options != options:
                raise InvalidArgumentError(
                    f"the group {options.name!r} has a subscriber in this process with other settings: give both "
                    f"the same ({known.options.settings()}, not {options.settings()})"
                )

    def takes_part_in(self, group: str) -> bool:
        """Return whether this process has a subscriber in the group."""
        return any(each.options.name == group for each in self._runners())

    def _runners(self) -> list[GroupRunner]:
        with self._lock:
            return [each for each in self._threads.values() if isinstance(each, GroupRunner)]

    def _make_runner(self, subscription: Subscription[Any], options: GroupOptions) -> GroupRunner:
        membership = Membership(
            options=options,
            subscription_id=subscription.id,
            worker_id=self._worker_id,
            handler=self._handler_of(subscription.subscriber),
            log=self._log,
            watcher=self._watcher,
            decode=self._decode,
            leases=self._leases,
            on_progress=self._progress.ring,
        )
        return self._runner_class(f"eventy-{self._queue_name}-{options.name}", membership, self._thread_ended)

    def _handler_of(self, subscriber: Any) -> Handler:
        if isinstance(subscriber, Subscriber):
            return functools.partial(_call_subscriber, subscriber, self._queue)
        handler: Handler = subscriber
        return handler

    def unsubscribe(self, subscription_id: UUID) -> Subscription[Any] | None:
        """End a subscription of this process, wait for its handler unless called from there, and return it."""
        with self._lock:
            thread = self._threads.pop(subscription_id, None)
            subscription = self._subscriptions.pop(subscription_id, None)
            if thread is not None:
                self._ended_corrupt += thread.corrupt_records
                self._ended_lost += thread.lost_events
        if thread is not None:
            thread.stop()
            thread.join(None)
        return subscription

    def find(self, subscriber: Any, group: str | None) -> Subscription[Any] | None:
        """Return the subscription of an equal subscriber in the same group, or in none, that this process runs."""
        with self._lock:
            for subscription_id, thread in self._threads.items():
                known = self._subscriptions[subscription_id]
                in_group = thread.options.name if isinstance(thread, GroupRunner) else None
                if in_group == group and known.subscriber == subscriber:
                    return known
        return None

    def subscriptions(self) -> list[Subscription[Any]]:
        """Return the subscriptions that this process runs."""
        with self._lock:
            return list(self._subscriptions.values())

    # -- stored subscriptions of others ------------------------------------------------------------------------

    def sync_stored(self) -> None:
        """Start the stored subscriptions that are new and end those that were removed; this process delivers now."""
        self._delivers = True
        self._watcher.start()
        self._sync_stored()

    def _tick(self) -> None:
        self._on_tick()
        if not self._delivers:
            return  # it follows the log, or waits for a result: no reason to run the handlers of others
        version = self._store.subscriptions.version()
        if version != self._version:
            self._sync_stored()
            self._version = version

    def _sync_stored(self) -> None:
        stored = {each.id: each for each in self._store.subscriptions.all()}
        for each in stored.values():
            self._start_stored(each)
        for subscription in self.subscriptions():
            if subscription.stored and subscription.id not in stored:
                self.unsubscribe(subscription.id)

    def _start_stored(self, stored: StoredSubscription) -> None:
        with self._lock:
            if stored.id in self._threads or stored.id in self._unknown:
                return
        try:
            subscriber = decode_subscriber(stored.type_name, stored.body)
        except InvalidArgumentError as exc:
            self._pass_over(stored, str(exc))
            return
        if subscriber is None:
            self._pass_over(stored, "its class is not imported here")
            return
        start = stored.from_index if stored.explicit_start else max(stored.from_index, self._opened_tail + 1)
        start = max(start, self._log.oldest())
        self._start(Subscription(stored.id, subscriber, stored.created_at, start, stored=True))

    def _pass_over(self, stored: StoredSubscription, reason: str) -> None:
        self._unknown.add(stored.id)
        logger.warning("stored subscriber not run: type=%r reason=%s", stored.type_name, reason)

    # -- waiting -----------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Learn of what others do as soon as may be, without delivering."""
        self._watcher.start()

    def wake(self) -> None:
        """Say that this process has published."""
        self._watcher.wake()

    def look_at_groups(self) -> None:
        """Say that groups may have work without new events, as after a pause."""
        for runner in self._runners():
            runner.look_again()

    @property
    def is_told(self) -> bool:
        """Whether the kernel tells of writing into the log."""
        return self._watcher.is_told

    def look(self) -> None:
        """Say that the log may have grown, in a thread that has the time to look."""
        self._watcher.look()

    def expect(self, event_id: int) -> None:
        """Say that this event may be in the log by now."""
        self._watcher.expect(event_id)

    def wait_beyond(self, event_id: int, timeout_seconds: float | None) -> bool:
        """Wait until the log goes beyond this id; False if it does not in that time, or the queue closes."""
        return self._watcher.wait_beyond(event_id, timeout_seconds)

    def lend_a_hand(self) -> bool:
        """Deliver in the caller's thread, who waits for what comes of it, if no other does; say if a handler ran."""
        return False

    def wait_until_idle(self, timeout_seconds: float | None) -> bool:
        """Wait until every subscription has handled what is in the log now, and its results are stored."""
        tail = self._log.tail()
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:  # a group's events may be in the hands of other processes, who ring no bell here
            remaining_seconds = remaining(deadline)
            look_seconds = LOOK_SECONDS if remaining_seconds is None else min(LOOK_SECONDS, remaining_seconds)
            if self._progress.wait_for(lambda: self._is_stopping or self._has_handled(tail), look_seconds):
                return True
            if remaining_seconds == 0:
                return False

    def _has_handled(self, tail: int) -> bool:
        with self._lock:
            threads = list(self._threads.values())
        return all(thread.has_handled(tail) for thread in threads)

    # -- the end -------------------------------------------------------------------------------------------------

    def stop(self, deadline: float | None, on_ended: Callable[[], None]) -> bool:
        """Stop taking events, let handlers finish until the monotonic deadline, then call `on_ended` once.

        Called from a handler, this waits for the others only; `on_ended` then runs when that handler ends.
        """
        with self._lock:
            self._is_stopping = True
            self._on_ended = on_ended
            threads = list(self._threads.values())
        self._progress.ring()
        for thread in threads:
            thread.stop()
        self._watcher.stop()
        self._watcher.join(remaining(deadline))
        ended = [thread.join(remaining(deadline)) for thread in threads]
        if any(thread.is_current() for thread in threads):
            return True  # its own end calls on_ended
        self._call_on_ended()
        return all(ended)

    def _thread_ended(self) -> None:
        with self._lock:
            self._running -= 1
            is_last = self._running == 0 and self._is_stopping
        self._progress.ring()
        if is_last:
            try:
                self._call_on_ended()
            except EventyError as exc:
                logger.error("closing after the last handler failed: %s", exc)

    def _call_on_ended(self) -> None:
        with self._lock:
            on_ended, self._on_ended = self._on_ended, None
        if on_ended is not None:
            self._watcher.stop()  # the last handler may end before stop() comes to it: what it looks at is closed now
            on_ended()

    # -- health --------------------------------------------------------------------------------------------------

    @property
    def corrupt_records(self) -> int:
        """How many damages delivery in this process has come upon."""
        with self._lock:
            return self._ended_corrupt + max((each.corrupt_records for each in self._threads.values()), default=0)

    @property
    def gaps(self) -> int:
        """How many events delivery in this process found lost."""
        with self._lock:
            return self._ended_lost + max((each.lost_events for each in self._threads.values()), default=0)


def _call_subscriber(subscriber: Subscriber[T], queue: EventQueue[T], event: QueueEvent[T]) -> str | None:
    return subscriber.on_event(event, queue)
