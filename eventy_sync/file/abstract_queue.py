"""What every queue on files is: one directory is the queue, and every process that opens it a worker.

A queue is described by its fields, which do not change, and *has* an `Engine` while it is open.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

from eventy_sync.backoff import DEFAULT_BACKOFF, Backoff
from eventy_sync.delivery.group_options import make_options
from eventy_sync.errors import InvalidArgumentError, QueueClosedError
from eventy_sync.file import inspection, lifecycle
from eventy_sync.file.coordinator import Coordinator
from eventy_sync.file.engine import Engine
from eventy_sync.file.facade import Facade
from eventy_sync.file.identity import QueueIdentity
from eventy_sync.file.marking import make_marks
from eventy_sync.file.running import serve_until_signalled
from eventy_sync.file.subscriptions import Declared, Subscriptions
from eventy_sync.group_work import LEASE_SECONDS, MAX_ATTEMPTS
from eventy_sync.models import Page, QueueEvent, Subscription
from eventy_sync.serializers import Serializer, get_serializer
from eventy_sync.storage.log import (
    SEGMENT_BYTES,
    Durability,
    Retention,
    SegmentSummary,
    Verification,
    repair,
    verify,
)
from eventy_sync.storage.state import StateStore

T = TypeVar("T")

CLOSE_TIMEOUT_SECONDS = 30.0
"""How long the end of a ``with`` block waits for handlers that are still running."""


@dataclass(eq=False)
class AbstractFileEventQueue(Facade[T]):
    """What every queue on files is.

    Fields:
        root_dir: the queue's directory, made when it is not there.
        payload_type: what may be published; everything is checked against it.
        name: the queue's name; the directory's unless given.
        worker_id: who this process is in claims and results; a fork's child gets a new one.
        event_serializer: "json", "msgpack", "pydantic", "pickle" or a `Serializer`.
        durability: when `publish` returns, "fsync": the event is on the disk; "interval": it will be
            within a second; "os": the kernel has it.  A killed process loses nothing in any case.
        segment_bytes: a log file that has grown so large is followed by a new one.
        retention: what may be dropped; nothing unless given.
        claim_expiration_seconds: how long a claim lasts unless it is renewed.
    """

    _tells_others: ClassVar[bool] = False

    root_dir: Path | str
    payload_type: Any = Any
    name: str | None = None
    worker_id: UUID = field(default_factory=uuid4)
    event_serializer: str | Serializer = "json"
    durability: Durability = "interval"
    segment_bytes: int = SEGMENT_BYTES
    retention: Retention | None = None
    claim_expiration_seconds: float = 300.0

    def __post_init__(self) -> None:
        self.root_dir = Path(self.root_dir)
        if self.name is None:
            self.name = self.root_dir.absolute().name or "root"
        self._check_fields()
        self._serializer = get_serializer(self.event_serializer, self.payload_type)
        self._serializer.bind(self.payload_type)  # refuses a type it cannot do now, not at the first publish
        self._declared = Declared[T]()
        self._default_concurrency = 1  # handlers at a time in a group whose subscription does not say; set before open
        self._lock = threading.RLock()
        # guarded by _lock
        self._engine: Engine[T] | None = None
        self._users = 0  # `with` blocks we are inside of, in all threads

    def _check_fields(self) -> None:
        if self.durability not in ("os", "interval", "fsync"):
            raise InvalidArgumentError(f'durability is "os", "interval" or "fsync", not {self.durability!r:.50}')
        if not isinstance(self.segment_bytes, int) or self.segment_bytes < 1024:
            raise InvalidArgumentError("segment_bytes must be a whole number from 1024 on")
        if not isinstance(self.worker_id, UUID):
            raise InvalidArgumentError("worker_id must be a UUID")
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise InvalidArgumentError("name must be a text of printable characters")
        if self.retention is not None and not isinstance(self.retention, Retention):
            raise InvalidArgumentError("retention must be a Retention(max_age=…, max_bytes=…, max_events=…)")

    # -- open and close --------------------------------------------------------------------------------------

    def open(self) -> None:
        with self._lock:
            if self._engine is None:
                engine = self._make_engine()
                try:
                    engine.coordinator.connect()
                    self._engine = engine
                    lifecycle.opened(self)
                    self._declared.subscribe_all(self.subscribe)
                except BaseException:
                    self.take_engine()
                    engine.close(time.monotonic())
                    raise

    def _make_engine(self) -> Engine[T]:
        return Engine(
            self,
            root=Path(self.root_dir),
            name=str(self.name),
            worker_id=self.worker_id,
            payload_type=self.payload_type,
            serializer=self._serializer,
            durability=self.durability,
            segment_bytes=self.segment_bytes,
            retention=self.retention,
            claim_expiration_seconds=self.claim_expiration_seconds,
            make_coordinator=self._make_coordinator,
            tells_others=self._tells_others,
        )

    @abstractmethod
    def _make_coordinator(self, identity: QueueIdentity, store: StateStore) -> Coordinator:
        """Return who gives out ids and claims."""

    def close(self, timeout: float | None = CLOSE_TIMEOUT_SECONDS) -> None:
        close_engine(self.take_engine(), timeout)

    def take_engine(self) -> Engine[T] | None:
        """Leave the queue closed at once, and its engine to the caller, who closes it; None if it was not open."""
        with self._lock:
            engine, self._engine, self._users = self._engine, None, 0
            lifecycle.closed(self)
            return engine

    def __enter__(self: Q) -> Q:
        with self._lock:
            self.open()
            self._users += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._users = max(0, self._users - 1)
            # under the same lock: whoever enters now opens another engine, and is not left with one that closes
            engine = None if self._users else self.take_engine()
        close_engine(engine, CLOSE_TIMEOUT_SECONDS)

    def _opened(self) -> Engine[T]:
        """Return the engine of an open queue."""
        if (engine := self._engine) is None:
            raise QueueClosedError(f"the queue {self.name!r} is not open: use it inside `with queue:`")
        return engine

    def _up_to_date(self) -> Engine[T]:
        """Return the engine of an open queue, with what other roots have published."""
        engine = self._opened()
        engine.coordinator.refresh()
        return engine

    def _before_fork(self) -> None:
        self._lock.acquire()
        if self._engine is not None:
            self._engine.store.before_fork()

    def _after_fork_in_parent(self) -> None:
        if self._engine is not None:
            self._engine.store.after_fork_in_parent()
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self.worker_id = uuid4()
        if self._engine is not None:
            self._engine.store.after_fork_in_child()
            self._engine.log.abandon()
            self._engine = self._make_engine()

    # -- who we are ------------------------------------------------------------------------------------------

    def get_worker_id(self) -> UUID:
        return self.worker_id

    def get_payload_type(self) -> Any:
        return self.payload_type

    # -- events ----------------------------------------------------------------------------------------------

    def publish(
        self,
        payload: T,
        *,
        key: str | None = None,
        key_window_seconds: float | None = None,
        delay_seconds: float | None = None,
        deliver_at: datetime | None = None,
    ) -> QueueEvent[T]:
        engine = self._opened()
        if key is None and delay_seconds is None and deliver_at is None and key_window_seconds is None:
            event = engine.events.publish(payload)
        else:
            marks = make_marks(key, key_window_seconds, delay_seconds, deliver_at)
            event = engine.events.publish_marked(payload, marks)
        engine.dispatcher.wake()
        return event

    def publish_many(self, payloads: Iterable[T]) -> list[QueueEvent[T]]:
        engine = self._opened()
        events = engine.events.publish_many(payloads)
        engine.dispatcher.wake()
        return events

    # -- subscriptions ---------------------------------------------------------------------------------------

    @property
    def _subscriptions(self) -> Subscriptions[T]:
        engine = self._opened()
        table, leases = engine.store.subscriptions, engine.coordinator.leases
        return Subscriptions(engine.events, engine.log, table, leases, engine.dispatcher, self.worker_id)

    def subscribe(
        self,
        subscriber: Any,
        check_subscriber_unique: bool = False,
        from_index: int | None = None,
        *,
        group: str | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        backoff: Backoff | float = DEFAULT_BACKOFF,
        concurrency: int | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> Subscription[Any]:
        threads = self._default_concurrency if concurrency is None else concurrency
        options = make_options(group, max_attempts, backoff, threads, lease_seconds, concurrency is not None)
        if options is not None:
            return self._subscriptions.subscribe_group(subscriber, check_subscriber_unique, from_index, options)
        return self._subscriptions.subscribe(subscriber, check_subscriber_unique, from_index)

    def subscriber(self, handler: Any = None, *, from_index: int | None = None, **group_options: Any) -> Any:
        options = {"from_index": from_index, **group_options}

        def declare(function: Any) -> Any:
            self._declared.add(function, options)
            if self._engine is not None:
                self.subscribe(function, **options)
            return function

        return declare if handler is None else declare(handler)

    def unsubscribe(self, subscriber_id: UUID) -> bool:
        return self._subscriptions.unsubscribe(subscriber_id)

    def get_subscriber(self, subscriber_id: UUID) -> Any:
        return self._subscriptions.get(subscriber_id).subscriber

    def batch_get_subscriptions(self, subscriber_ids: Sequence[UUID]) -> list[Subscription[Any] | None]:
        return self._subscriptions.batch_get(subscriber_ids)

    def search_subscriptions(self, page_id: str | None = None, limit: int = 100) -> Page[Subscription[Any]]:
        return self._subscriptions.search(page_id, limit)

    def count_subscriptions(self) -> int:
        return self._subscriptions.count()

    # -- running and looking after it ------------------------------------------------------------------------

    def run(self, *, threads: int | None = None, burst: bool = False) -> None:
        serve_until_signalled(self, threads, burst)

    def _set_default_concurrency(self, threads: int) -> None:
        self._default_concurrency = threads

    def wait_until_idle(self, timeout: float | None = None) -> bool:
        return self._opened().dispatcher.wait_until_idle(timeout)

    def request_resync(self) -> None:
        self._opened().dispatcher.sync_stored()

    def apply_retention(self, *, dry_run: bool = False, force: bool = False) -> list[SegmentSummary]:
        """Drop the segments that the queue's retention lets go, their results, and expired claims; return them.

        This happens by itself whenever a segment is full; call it to drop by age in a quiet queue.  What a group has
        not finished stays, unless it is forced: the group then passes over what is gone, with a failed result.

        Raises:
            StorageError: the disk refused.
        """
        return self._opened().apply_retention(dry_run=dry_run, force=force)

    def verify(self) -> Verification:
        """Read every record and return what is damaged; nothing is changed.

        Raises:
            StorageError: a file cannot be read.
        """
        return verify(self._opened().log)

    def repair(self) -> Verification:
        """Put damaged bytes aside, mark their events as lost, and return what was found.  Safe while others work.

        Raises:
            StorageError: the disk refused.
        """
        return repair(self._opened().log)

    def reset(self) -> None:
        self._opened().reset()

    def health(self) -> dict[str, Any]:
        return inspection.health(self._opened(), self.worker_id)

    def stats(self) -> dict[str, Any]:
        return inspection.stats(self._opened())


def close_engine(engine: Engine[Any] | None, timeout: float | None) -> None:
    """Close what `take_engine` has returned, waiting so many seconds for handlers, None for as long as they take."""
    if engine is not None:
        engine.close(None if timeout is None else time.monotonic() + timeout)


Q = TypeVar("Q", bound=AbstractFileEventQueue[Any])
