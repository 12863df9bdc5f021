"""Subscribing: local ones for this process, stored ones for every worker of the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar
from uuid import UUID

from eventy_sync.backoff import DEFAULT_BACKOFF, Backoff
from eventy_sync.delivery import Dispatcher
from eventy_sync.delivery.group_options import GroupOptions, make_options
from eventy_sync.delivery.leases import LeaseAuthority
from eventy_sync.errors import EventExpiredError, InvalidArgumentError, SubscriptionNotFoundError
from eventy_sync.file.events import Events
from eventy_sync.group_work import LEASE_SECONDS, MAX_ATTEMPTS
from eventy_sync.identifiers import new_id
from eventy_sync.models import Page, Subscription
from eventy_sync.storage.log import EventLog
from eventy_sync.storage.state import StoredSubscription, SubscriptionTable
from eventy_sync.stored_subscriber import decode_subscriber, encode_subscriber
from eventy_sync.subscribers import Subscriber

T = TypeVar("T")


class Declared(Generic[T]):
    """What ``@queue.subscriber`` has collected: subscribed each time the queue opens."""

    def __init__(self) -> None:
        self._handlers: list[tuple[Any, dict[str, Any]]] = []

    def add(self, handler: Any, options: dict[str, Any]) -> None:
        """Remember a handler and how it is to be subscribed."""
        check_subscriber(handler)
        _check_options(**options)
        self._handlers.append((handler, options))

    def subscribe_all(self, subscribe: Callable[..., Any]) -> None:
        """Subscribe all that were declared."""
        for handler, options in self._handlers:
            subscribe(handler, **options)


def _check_options(
    *,
    from_index: int | None = None,
    check_subscriber_unique: bool = False,
    group: str | None = None,
    max_attempts: int = MAX_ATTEMPTS,
    backoff: Backoff | float = DEFAULT_BACKOFF,
    concurrency: int | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> None:
    """Refuse options before the queue is open; a start can be looked at only then."""
    threads = 1 if concurrency is None else concurrency
    make_options(group, max_attempts, backoff, threads, lease_seconds, concurrency is not None)


def check_subscriber(subscriber: Any) -> None:
    """Refuse what can never be called with an event."""
    if not callable(subscriber) and not isinstance(subscriber, Subscriber):
        raise InvalidArgumentError(
            f"a subscriber is a callable or a Subscriber, not {type(subscriber).__name__}: "
            "give a function that takes the event"
        )
    if isinstance(subscriber, type):
        raise InvalidArgumentError(f"subscribe an instance of {subscriber.__name__}, not the class itself")


class Subscriptions(Generic[T]):
    """The subscriptions of an open queue.  Thread safe."""

    def __init__(
        self,
        events: Events[T],
        log: EventLog,
        table: SubscriptionTable,
        leases: LeaseAuthority,
        dispatcher: Dispatcher[T],
        worker_id: UUID,
    ) -> None:
        self._events, self._log, self._table, self._leases = events, log, table, leases
        self._dispatcher, self._worker_id = dispatcher, worker_id

    def subscribe(self, subscriber: Any, check_unique: bool, from_index: int | None) -> Subscription[Any]:
        """See `EventQueue.subscribe`."""
        check_subscriber(subscriber)
        start = self._log.tail() + 1 if from_index is None else self._events.check_start(from_index)
        encoded = encode_subscriber(subscriber)
        if encoded is not None:
            return self._subscribe_stored(subscriber, encoded, check_unique, start, from_index is not None)
        if check_unique and (known := self._dispatcher.find(subscriber, None)) is not None:
            return known
        subscription = Subscription(new_id(), subscriber, datetime.now(timezone.utc), start)
        self._dispatcher.start(subscription)
        return subscription

    def subscribe_group(
        self, subscriber: Any, check_unique: bool, from_index: int | None, options: GroupOptions
    ) -> Subscription[Any]:
        """See `EventQueue.subscribe`."""
        check_subscriber(subscriber)
        start = self._group_start(from_index, options.name)
        self._dispatcher.check_options(options)
        if check_unique and (known := self._dispatcher.find(subscriber, options.name)) is not None:
            return known
        self._leases.begin(options.name, start)
        subscription = Subscription(new_id(), subscriber, datetime.now(timezone.utc), start)
        self._dispatcher.start(subscription, options)
        return subscription

    def _group_start(self, from_index: int | None, group: str) -> int:
        """Return where the group begins if it is new."""
        if from_index is None:
            return self._log.tail() + 1
        try:
            return self._events.check_start(from_index)
        except EventExpiredError:
            for known in self._leases.info(self._log.tail()):
                if known.name == group:
                    return known.next_id  # it began when that event was there
            raise

    def _subscribe_stored(
        self, subscriber: Any, encoded: tuple[str, bytes], check_unique: bool, start: int, explicit: bool
    ) -> Subscription[Any]:
        type_name, body = encoded
        now = datetime.now(timezone.utc)
        wanted = StoredSubscription(new_id(), type_name, body, start, explicit, now, self._worker_id)
        if check_unique:
            stored = self._table.add_unique(wanted)
        else:
            stored = wanted
            self._table.add(wanted)
        subscription = Subscription(stored.id, subscriber, stored.created_at, stored.from_index, stored=True)
        self._dispatcher.start(subscription)
        return subscription

    def unsubscribe(self, subscriber_id: UUID) -> bool:
        """See `EventQueue.unsubscribe`."""
        was_stored = self._table.remove(subscriber_id)
        ended = self._dispatcher.unsubscribe(subscriber_id)
        return was_stored or (ended is not None and not ended.stored)

    def get(self, subscriber_id: UUID) -> Subscription[Any]:
        """Return one subscription, of this process or stored."""
        for known in self._dispatcher.subscriptions():
            if known.id == subscriber_id:
                return known
        return _as_subscription(self._table.get(subscriber_id))

    def batch_get(self, subscriber_ids: Sequence[UUID]) -> list[Subscription[Any] | None]:
        """See `EventQueue.batch_get_subscriptions`."""
        return [self._get_or_none(each) for each in subscriber_ids]

    def _get_or_none(self, subscriber_id: UUID) -> Subscription[Any] | None:
        try:
            return self.get(subscriber_id)
        except SubscriptionNotFoundError:
            return None

    def search(self, page_id: str | None, limit: int) -> Page[Subscription[Any]]:
        """See `EventQueue.search_subscriptions`."""
        page = self._table.search(page_id, limit)
        after = self._table.key_of(page_id)
        found = [_as_subscription(stored) for stored in page.items]
        found += [local for local in self._local() if local.id.bytes > after]
        found.sort(key=lambda each: each.id)
        has_more = len(found) > limit or page.next_page_id is not None
        return Page(found[:limit], self._table.page_id_after(found[limit - 1].id) if has_more else None)

    def _local(self) -> list[Subscription[Any]]:
        return [each for each in self._dispatcher.subscriptions() if not each.stored]

    def count(self) -> int:
        """See `EventQueue.count_subscriptions`."""
        return self._table.count() + len(self._local())


def _as_subscription(stored: StoredSubscription) -> Subscription[Any]:
    """Return it with its subscriber, or None in that place where this process cannot bring it back."""
    try:
        subscriber = decode_subscriber(stored.type_name, stored.body)
    except InvalidArgumentError:
        subscriber = None
    return Subscription(stored.id, subscriber, stored.created_at, stored.from_index, stored=True)
