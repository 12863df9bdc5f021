"""`EventQueue`: what every queue can do, wherever its events are kept.

Methods are thread safe and may be called inside ``with queue:`` only; before and after they raise
`QueueClosedError`.  Whatever touches the disk may raise `StorageError`.  Filters of the ``__gte``,
``__lte`` and ``__eq`` kind take part only when given; times are aware datetimes.  A batch has None for
what is not there.  A page costs what is on it, however long the history; `limit` is 1 to 10 000.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload
from uuid import UUID

from eventy_sync.backoff import DEFAULT_BACKOFF, Backoff
from eventy_sync.claiming import Claiming
from eventy_sync.group_work import LEASE_SECONDS, MAX_ATTEMPTS, GroupWork
from eventy_sync.models import EventResult, Page, QueueEvent, Subscription

if TYPE_CHECKING:
    from eventy_sync.subscribers import Subscriber, SubscriberDecorator

KEY_WINDOW_SECONDS = 86_400.0
"""How long the key of an event is taken unless `publish` is told otherwise: a day."""

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S", bound="Subscriber[Any]")
Q = TypeVar("Q", bound="EventQueue[Any]")


class EventQueue(Claiming, GroupWork, Generic[T]):
    """A durable queue of events with payloads of one type."""

    # -- open and close --------------------------------------------------------------------------------------

    @abstractmethod
    def open(self) -> None:
        """Open the queue, as ``with queue:`` does.  Does nothing if it is open.

        Raises:
            QueueFormatError: the directory holds something else, or a later format.
            StorageError: it cannot be opened.
        """

    @abstractmethod
    def close(self, timeout: float | None = 30.0) -> None:
        """Close the queue: refuse publishes, let handlers finish for `timeout` seconds, give claims back.

        May be called twice, from any thread, and from a handler.  None waits without end.

        Raises:
            StorageError: what was published last could not be synced to the disk.
        """

    @abstractmethod
    def __enter__(self: Q) -> Q:
        """Open the queue.  Blocks may be nested, in any threads; the queue closes after the last."""

    @abstractmethod
    def __exit__(self, *exc_info: object) -> None:
        """Close the queue if this is the last block."""

    # -- who we are ------------------------------------------------------------------------------------------

    @abstractmethod
    def get_worker_id(self) -> UUID:
        """Return this worker's id; it stands in claims and results.  May be called on a closed queue."""

    @abstractmethod
    def get_payload_type(self) -> Any:
        """Return the type of the payloads.  May be called on a closed queue."""

    # -- events ----------------------------------------------------------------------------------------------

    @abstractmethod
    def publish(
        self,
        payload: T,
        *,
        key: str | None = None,
        key_window_seconds: float | None = None,
        delay_seconds: float | None = None,
        deliver_at: datetime | None = None,
    ) -> QueueEvent[T]:
        """Append an event, and return it when it is as safe as the queue's durability says.

        With a `key`, 1 to 500 printable characters, whoever publishes the same key within `key_window_seconds` of that
        event (`KEY_WINDOW_SECONDS`, a day, unless given; that of the first one counts) gets the event that is there,
        with the payload that it has, and nothing is published.  What retention has dropped is not there.

        With `delay_seconds`, or `deliver_at`, an aware datetime, the event is stored at once and handed out to
        subscribers when that time has come by the clock of the host that hands it out, never before.  It holds up none
        of the events behind it.  A subscriber without a group and without `from_index` gets no event that was
        published before it subscribed, when ever that is due.

        Raises:
            InvalidArgumentError: the key, a time or a number of seconds cannot be, or delay and time are both given.
            EventExpiredError: the key has an event that this root, which joined later, has never had.
            InvalidPayloadError: the payload is not of the queue's type, too large or too deep.
            StorageError: it could not be written; nothing was.
        """

    @abstractmethod
    def publish_many(self, payloads: Iterable[T]) -> list[QueueEvent[T]]:
        """Append several events at once: all of them or none.  Their ids follow each other.

        Raises:
            InvalidPayloadError: one of the payloads is not valid.
            StorageError: they could not be written; nothing was.
        """

    @abstractmethod
    def get_event(self, event_id: int) -> QueueEvent[T]:
        """Return one event.

        Raises:
            EventNotFoundError: there is none yet.
            EventExpiredError: retention has dropped it.
            CorruptRecordError: it was there and cannot be read any more.
        """

    @abstractmethod
    def batch_get_events(self, event_ids: Sequence[int]) -> list[QueueEvent[T] | None]:
        """Return events in the order of their ids, None for those that are not there.

        Raises:
            CorruptRecordError: one of them cannot be read any more.
        """

    @abstractmethod
    def search_events(
        self,
        page_id: str | None = None,
        limit: int = 100,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> Page[QueueEvent[T]]:
        """Return a page of events, oldest first.  Damaged records are passed over."""

    @abstractmethod
    def count_events(self, created_at__gte: datetime | None = None, created_at__lte: datetime | None = None) -> int:
        """Return how many events there are, by their ids: damaged ones count."""

    @abstractmethod
    def iter_events(
        self, from_index: int = 1, follow: bool = False, timeout: float | None = None
    ) -> Iterator[QueueEvent[T]]:
        """Yield events in order, from id `from_index` on, up to those that are there at the call.

        With `follow` go on as they come, and end when none has come for `timeout` seconds (None: never).

        Raises:
            EventExpiredError: retention has dropped the first of them.
            CorruptRecordError: a record cannot be read; iterate again from behind its `last_id` to go on.
        """

    # -- subscriptions ---------------------------------------------------------------------------------------

    @abstractmethod
    def subscribe(
        self,
        subscriber: Callable[[QueueEvent[T]], object] | Subscriber[T],
        check_subscriber_unique: bool = False,
        from_index: int | None = None,
        *,
        group: str | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        backoff: Backoff | float = DEFAULT_BACKOFF,
        concurrency: int | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> Subscription[Any]:
        """Have the subscriber run on every event from now on, or from id `from_index` on.

        A callable is called with the event, in this process only.  A `Subscriber` is called as
        ``on_event(event, event_queue)``; one that is a dataclass, pydantic model or msgspec struct is
        stored, and every worker that has its class imported runs it.  Events come in id order, one at a
        time for each subscriber, each at least once.

        With `check_subscriber_unique` an equal subscriber that is there already is returned instead.

        With a `group` all its workers share the events: each is handled by one of them at a time, in `concurrency`
        threads here.  A new group begins like any subscriber; a known one goes on where it is, whatever `from_index`
        says.  An event whose handler raises is tried again after `backoff` (seconds, or a `Backoff`), and becomes a
        dead letter after `max_attempts`, those that ended with the death of a worker included.  A worker that dies is
        noticed when its leases of `lease_seconds` run out; a living one renews them.  The subscriber itself is this
        process's alone.

        Raises:
            EventExpiredError: retention has dropped event `from_index`.
            InvalidArgumentError: it is no subscriber, `from_index` no event id, or an option of the group is out of
                range or differs from that of another subscriber of the group in this process.
        """

    @overload
    def subscriber(
        self, handler: None = None, *, from_index: int | None = None, **group_options: Any
    ) -> SubscriberDecorator[T]: ...
    @overload
    def subscriber(self, handler: S, *, from_index: int | None = None, **group_options: Any) -> S: ...
    @overload
    def subscriber(
        self, handler: Callable[[QueueEvent[T]], R], *, from_index: int | None = None, **group_options: Any
    ) -> Callable[[QueueEvent[T]], R]: ...
    def subscriber(self, handler: Any = None, *, from_index: int | None = None, **group_options: Any) -> Any:
        """Decorate a function to be subscribed whenever the queue opens, at once if it is open.

        Use it as ``@queue.subscriber``, ``@queue.subscriber(from_index=1)`` or
        ``@queue.subscriber(group="billing")``, with the options of `subscribe`.
        """

        def declare(function: Any) -> Any:
            self._declare(function, {"from_index": from_index, **group_options})
            return function

        return declare if handler is None else declare(handler)

    @abstractmethod
    def _declare(self, subscriber: Any, options: dict[str, Any]) -> None:
        """Subscribe it with these options whenever the queue opens, at once if it is open."""

    @abstractmethod
    def unsubscribe(self, subscriber_id: UUID) -> bool:
        """End a subscription, a stored one in every worker; False if there is none of this id."""

    @abstractmethod
    def get_subscriber(self, subscriber_id: UUID) -> Any:
        """Return the subscriber of a subscription; None if it is stored and its class not imported here.

        Raises:
            SubscriptionNotFoundError: there is none of this id.
        """

    @abstractmethod
    def batch_get_subscriptions(self, subscriber_ids: Sequence[UUID]) -> list[Subscription[Any] | None]:
        """Return subscriptions in the order of their ids."""

    @abstractmethod
    def search_subscriptions(self, page_id: str | None = None, limit: int = 100) -> Page[Subscription[Any]]:
        """Return a page of the stored subscriptions and this process's own, oldest first."""

    @abstractmethod
    def count_subscriptions(self) -> int:
        """Return how many stored subscriptions and subscriptions of this process there are."""

    # -- results ---------------------------------------------------------------------------------------------

    @abstractmethod
    def get_result(self, result_id: UUID) -> EventResult:
        """Return one result.

        Raises:
            ResultNotFoundError: there is none of this id.
        """

    @abstractmethod
    def batch_get_results(self, result_ids: Sequence[UUID]) -> list[EventResult | None]:
        """Return results in the order of their ids."""

    @abstractmethod
    def search_results(
        self,
        page_id: str | None = None,
        limit: int = 100,
        event_id__eq: int | None = None,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
        success__eq: bool | None = None,
        group__eq: str | None = None,
    ) -> Page[EventResult]:
        """Return a page of results, oldest first.

        A page of failures alone costs the page, however many successes there are.
        """

    @abstractmethod
    def count_results(
        self,
        event_id__eq: int | None = None,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
        success__eq: bool | None = None,
        group__eq: str | None = None,
    ) -> int:
        """Return how many results there are."""

    @abstractmethod
    def wait_for_result(self, event_id: int, timeout: float | None = None, *, group: str | None = None) -> EventResult:
        """Return the first result of an event, waiting up to `timeout` seconds for it (None: without end).

        Only results of this group count, if one is given; stale ones never do.  Thread safe.  A result of this
        process wakes whoever waits, and so does, on several hosts, the message that tells of one; a process that
        waits there listens from then on, in threads, but does not deliver.  Another process on the same directory
        cannot call: for its results this looks whether the file was changed, every millisecond at first and twenty
        times a second in the long run.

        Raises:
            ResultNotFoundError: there was none in that time.
            QueueClosedError: the queue was closed meanwhile.
        """

    # -- running and looking after it ------------------------------------------------------------------------

    @abstractmethod
    def run(self, *, threads: int | None = None, burst: bool = False) -> None:
        """Deliver until SIGINT or SIGTERM: the first lets handlers finish, a second ends at once.

        Opens the queue if need be.  For the main thread, which alone receives signals.  `threads`, 1 to 1000, is
        the concurrency of groups whose subscription does not say.  In a `burst` it returns when all that is in the
        log has been handled, what handlers publish meanwhile included.

        Raises:
            InvalidArgumentError: `threads` is not valid, or this is not the main thread.
        """

    @abstractmethod
    def wait_until_idle(self, timeout: float | None = None) -> bool:
        """Wait until this process's subscribers have handled all that is in the log at the call.

        Returns False if `timeout` seconds went by first.
        """

    @abstractmethod
    def request_resync(self) -> None:
        """Look at once for what other workers changed, stored subscriptions included, and start those here."""

    @abstractmethod
    def health(self) -> dict[str, Any]:
        """Return how the queue is: mode, reason, tail, worker_id, root_id, gaps, corrupt_records.

        `gaps` and `corrupt_records` count the events that delivery in this process found lost.
        """

    @abstractmethod
    def stats(self) -> dict[str, Any]:
        """Return counts and sizes: events, oldest, tail, size_bytes, segments, subscriptions, results, claims, groups.

        `groups` has a dict for each group by its name: next_id, lag, leased, waiting, dead and paused; see `GroupInfo`.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget all events, results, claims and subscriptions.

        Ids and fencing tokens go on from where they were, so that nothing new is taken for something old.
        """
