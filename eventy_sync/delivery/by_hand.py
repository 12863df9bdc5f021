"""Delivery by hand: subscriptions that run in the thread of whoever asks, when it asks; for tests.

What stands for a thread here takes turns: in each it handles one event, if there is one, and settles what came of it.
Subscribers take turns in the order in which they subscribed.  Nobody is waited for: who asks for another run gets it
at once.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from eventy_sync.backoff import Backoff
from eventy_sync.delivery.delivery_thread import DeliveryThread, Handler
from eventy_sync.delivery.dispatcher import Dispatcher
from eventy_sync.delivery.group_options import GroupOptions
from eventy_sync.delivery.group_runner import GroupRunner
from eventy_sync.delivery.group_thread import GroupThread, Membership
from eventy_sync.delivery.stoppable_thread import StoppableThread
from eventy_sync.errors import InvalidArgumentError
from eventy_sync.models import QueueEvent, Subscription
from eventy_sync.signals import RetryEvent, SkipEvent

T = TypeVar("T")

MAX_RUNS = 10_000
AT_ONCE = Backoff(first_seconds=0, factor=1, max_seconds=0, jitter=0)


class TurnTaker(StoppableThread, ABC):
    """The verbs of a thread, and `take_turn`.  It ends when it is stopped, or with the turn in which it is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended = threading.Event()
        self._turn_lock = threading.Lock()
        # guarded by _turn_lock
        self._turning: threading.Thread | None = None
        # in a turn only
        self._has_found_nothing = False

    def start(self) -> None:
        """Do nothing: the turns are taken by others."""

    def take_turn(self) -> bool:
        """Handle the next event; False if there is none."""
        with self._turn_lock:
            if self._ended.is_set():
                return False
            self._turning = threading.current_thread()
        self._has_found_nothing = False
        try:
            self._turn()
        finally:
            with self._turn_lock:
                self._turning = None
            self._end_if_stopped()
        return not self._has_found_nothing

    @abstractmethod
    def _turn(self) -> None:
        """Handle one event, if there is one, and settle it; else set `_has_found_nothing`."""

    @abstractmethod
    def _end(self) -> None:
        """Give back what is held.  Called once."""

    def stop(self) -> None:
        """End, after the turn that is being taken."""
        super().stop()
        self._end_if_stopped()

    def _end_if_stopped(self) -> None:
        with self._turn_lock:
            if not self.stopping.is_set() or self._turning is not None or self._ended.is_set():
                return
            self._ended.set()
        self._end()

    def join(self, timeout_seconds: float | None) -> bool:
        """Wait for the end; say whether it has come.  From inside the handler: does not wait, says no."""
        return not self.is_current() and self._ended.wait(timeout_seconds)

    def is_current(self) -> bool:
        """Return whether the caller runs in a turn of this."""
        return self._turning is threading.current_thread()


class DeliveryByHand(TurnTaker, DeliveryThread):
    """One subscription."""

    _batch_events: ClassVar[int] = 1

    def _turn(self) -> None:
        try:
            self._deliver_what_is_there()
        finally:
            self._results.flush()

    def _end(self) -> None:
        DeliveryThread._end(self)

    def _wait_for_more(self) -> None:
        self._has_found_nothing = True
        if self._results.flush():
            self.idle_id = self._reader.next_id - 1

    def _cannot_go_on(self, exc: Exception) -> None:
        raise exc


class GroupByHand(TurnTaker, GroupThread):
    """The one thread of a group's subscriber."""

    def _turn(self) -> None:
        try:
            self._take_turn()
        finally:
            self._give_all_back()

    def _end(self) -> None:
        GroupThread._end(self)

    def _limit(self) -> int:
        return 1

    def _wait_for_more(self, tail: int, wait_seconds: float | None) -> None:
        self._has_found_nothing = True

    def _cannot_go_on(self, exc: Exception) -> None:
        self._has_found_nothing = True
        raise exc


class GroupRunnerByHand(GroupRunner):
    """A group's subscriber, whatever its concurrency: one event at a time, and no keeper."""

    def _make_threads(self, name: str, membership: Membership) -> Sequence[GroupByHand]:
        at_once = replace(membership, options=replace(membership.options, backoff=AT_ONCE))
        self.only = GroupByHand(name, at_once, self._wake_keeper, self._thread_ended)
        return [self.only]

    def start(self) -> None:
        """Do nothing: the turns are taken by others."""

    def join(self, timeout_seconds: float | None) -> bool:
        """Wait for the end; say whether it has come."""
        return self.only.join(timeout_seconds)


class DispatcherByHand(Dispatcher[T]):
    """A dispatcher without threads: it delivers in `deliver`, one thread at a time."""

    _thread_class = DeliveryByHand
    _runner_class = GroupRunnerByHand

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._delivering = threading.Lock()
        # written with _delivering held
        self._deliverer: threading.Thread | None = None
        self._raises = False
        self._runs = self._max_runs = 0
        self._failure: BaseException | None = None

    def start(self, subscription: Subscription[Any], group: GroupOptions | None = None) -> None:
        """Deliver to this subscription when asked to."""
        self._start(subscription, group)

    def sync_stored(self) -> None:
        """Know the stored subscriptions that are new, and forget those that were removed."""
        self._sync_stored()

    def lend_a_hand(self) -> bool:
        """Deliver what is there; failures become results."""
        return self.deliver(raises=False) > 0

    def wait_until_idle(self, timeout_seconds: float | None) -> bool:
        """Deliver what is there; failures become results."""
        self.lend_a_hand()
        return True

    def deliver(self, *, raises: bool, max_runs: int = MAX_RUNS) -> int:
        """Handle all that is in the log, what handlers publish meanwhile included; return how often handlers ran.

        With `raises` the first failure ends it and is raised, after its result was stored; else failures are results
        only.  Signals that are no errors (KeyboardInterrupt and its like) are raised in any case.

        Raises:
            InvalidArgumentError: a handler is the caller.
            RuntimeError: handlers ran more than `max_runs` times.
        """
        if self._deliverer is threading.current_thread():
            raise InvalidArgumentError(
                "a handler that runs in this thread cannot wait for others to run in it, too: wait outside of handlers"
            )
        with self._delivering:
            self._deliverer = threading.current_thread()
            self._raises, self._runs, self._max_runs = raises, 0, max_runs
            try:
                self._sync_stored()
                while self._take_turns():
                    pass
                return self._runs
            finally:
                self._deliverer = None

    def _take_turns(self) -> bool:
        """Let every subscription have its turn; False if no one had anything to do."""
        has_delivered = False
        for taker in self._takers():
            has_delivered |= taker.take_turn()
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
        return has_delivered

    def _takers(self) -> list[DeliveryByHand | GroupByHand]:
        with self._lock:
            threads = list(self._threads.values())
        takers = [each.only if isinstance(each, GroupRunnerByHand) else each for each in threads]
        return [each for each in takers if isinstance(each, (DeliveryByHand, GroupByHand))]

    def _handler_of(self, subscriber: Any) -> Handler:
        handler = super()._handler_of(subscriber)

        def handle(event: QueueEvent[Any]) -> Any:
            self._count_run(event)
            try:
                return handler(event)
            except SkipEvent:
                raise
            except RetryEvent:
                raise RetryEvent(0) from None
            except BaseException as exc:
                is_error = isinstance(exc, (Exception, SystemExit))
                if self._raises or not is_error:
                    self._failure = exc
                if is_error:
                    raise
                raise RuntimeError(
                    f"the handler was ended by {type(exc).__qualname__}"
                ) from exc  # settled as a failure

        return handle

    def _count_run(self, event: QueueEvent[Any]) -> None:
        if self._runs == self._max_runs:
            self._failure = RuntimeError(
                f"handlers ran {self._max_runs} times and there is still event {event.id}: does one publish for "
                "itself, or raise RetryEvent, without end?  Otherwise allow more with max_runs="
            )
            raise self._failure
        self._runs += 1
