"""What a file queue has while it is open: the log, the state store, claims and delivery.

An engine is made at open, dropped at close, and made anew in the child of a fork.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import UUID

from eventy_sync.delivery import Dispatcher
from eventy_sync.errors import CoordinationError, StorageError
from eventy_sync.event_queue import EventQueue
from eventy_sync.file.claims import Claims
from eventy_sync.file.coordinator import Coordinator
from eventy_sync.file.events import Events
from eventy_sync.file.identity import STATE_FILE, QueueIdentity, open_root
from eventy_sync.serializers import Serializer
from eventy_sync.storage.log import Durability, EventLog, Retention, SegmentSummary
from eventy_sync.storage.state import StateStore

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Engine(Generic[T]):
    """The open half of a file queue.  Thread safe."""

    def __init__(
        self,
        queue: EventQueue[T],
        *,
        root: Path,
        name: str,
        worker_id: UUID,
        payload_type: Any,
        serializer: Serializer,
        durability: Durability,
        segment_bytes: int,
        retention: Retention | None,
        claim_expiration_seconds: float,
        make_coordinator: Callable[[QueueIdentity, StateStore], Coordinator],
        tells_others: bool,
    ) -> None:
        self.identity = open_root(root)
        synced = durability == "fsync"
        tells = tells_others or self.identity.joined is not None  # by way of a process that has Redis
        self.store = StateStore(root / STATE_FILE, sync_every_commit=synced, tells_others=tells)
        self.coordinator = make_coordinator(self.identity, self.store)
        self.log = EventLog(
            root,
            durability=durability,
            segment_bytes=segment_bytes,
            retention=retention,
            numbering=self.coordinator.numbering,
            book=self.store.keys,
            on_segment=self.coordinator.segment_opened,
            needed_from=self.coordinator.leases.oldest_unfinished,
        )
        self.events: Events[T] = Events(self.log, serializer, payload_type)
        self.claims = Claims(self.coordinator.claims, worker_id, claim_expiration_seconds, f"eventy-{name}-claims")
        self.dispatcher: Dispatcher[T] = Dispatcher(
            queue=queue,
            queue_name=name,
            worker_id=worker_id,
            log=self.log,
            store=self.store,
            leases=self.coordinator.leases,
            decode=self.events.event_of,
            on_watch=self.coordinator.watch,
            on_tick=self.coordinator.tick,
            is_tick_due=self.coordinator.is_tick_due,
        )
        self.coordinator.start(self.log, self.dispatcher, self.claims.lose)

    def apply_retention(self, *, dry_run: bool, force: bool) -> list[SegmentSummary]:
        """See `AbstractFileEventQueue.apply_retention`."""
        dropped = self.log.drop_expired(dry_run=dry_run, force=force)
        if not dry_run:
            self.store.results.delete_before(self.log.oldest())
            self.store.claims.delete_expired()
        return dropped

    def reset(self) -> None:
        """See `EventQueue.reset`."""
        self.log.drop_all()
        self.claims.clear()
        self.store.clear(self.log.oldest())  # not the tail: somebody may have published since
        self.coordinator.leases.forget_unfinished()

    def close(self, deadline: float | None) -> None:
        """Let handlers finish until the monotonic deadline, give claims back, and close all files.

        Raises:
            StorageError: what was appended last could not be synced.
        """
        if not self.dispatcher.stop(deadline, on_ended=self._close_files):
            logger.warning("handlers still running at close: deadline passed")

    def _close_files(self) -> None:
        """Runs once, when the last handler has ended or the deadline has passed."""
        self.claims.renewals.stop()
        try:
            self.claims.release_all()
        except (StorageError, CoordinationError) as exc:
            logger.warning("claims not given back, they will expire: %s", exc)
        self.coordinator.stop()
        self.store.close()
        self.log.close()
