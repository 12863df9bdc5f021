"""What each message on the channel makes this root do.  Messages are hints: each leads to looking at the truth."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from uuid import UUID

from eventy_sync.errors import QueueClosedError, StorageError
from eventy_sync.file.coordinator import Watcher
from eventy_sync.redis.catching_up import CatchingUp
from eventy_sync.redis.claims import RedisClaims
from eventy_sync.redis.membership import Membership
from eventy_sync.redis.messages import (
    AddClaim,
    AddEvent,
    AddResult,
    CarriedEvent,
    CreateSubscriber,
    Heartbeat,
    Inbox,
    Message,
    RemoveClaim,
    RemoveSubscriber,
    ResyncDone,
    ResyncRequest,
    SteerGroup,
)
from eventy_sync.redis.resync import Resync
from eventy_sync.redis.seal import is_genuine
from eventy_sync.storage.log import Entry, EventLog

logger = logging.getLogger(__name__)

APPEND_SECONDS, APPEND_POLL_SECONDS = 0.002, 0.00005
"""Another process of this root appends an event just after it was announced; it may also have died."""


class Hearing:
    """Monitor thread only.  `attempt` runs what asks Redis, and sees to what comes of it."""

    def __init__(
        self,
        *,
        worker_id: UUID,
        membership: Membership,
        catching_up: CatchingUp,
        resync: Resync,
        claims: RedisClaims,
        attempt: Callable[[Callable[[], None]], None],
        refresh: Callable[[], None],
        exchange_changes: Callable[[], None],
        pause: Callable[[float], object],
    ) -> None:
        # fixed after construction
        self._worker_id, self._membership, self._catching_up = worker_id, membership, catching_up
        self._resync, self._claims = resync, claims
        self._attempt, self._refresh, self._exchange_changes, self._pause = attempt, refresh, exchange_changes, pause
        self._inbox = Inbox()
        self._log: EventLog
        self._watcher: Watcher
        self._on_claim_lost: Callable[[str, int], None]

    def start(self, log: EventLog, watcher: Watcher, on_claim_lost: Callable[[str, int], None]) -> None:
        """Begin to serve this log; see `Coordinator.start`."""
        self._log, self._watcher, self._on_claim_lost = log, watcher, on_claim_lost

    def handle(self, data: bytes, has_more: Callable[[], bool] = lambda: False) -> None:
        """Take what has arrived.  Never raises: the channel would be deaf from then on.

        `has_more` says whether other messages have arrived since.
        """
        try:
            self._take(self._inbox.open(data), has_more)
        except StorageError as exc:
            logger.error("a message came to nothing, the log will be looked at again soon: %s", exc)
        except QueueClosedError:
            logger.debug("a message came after the end")

    def _take(self, message: Message | None, has_more: Callable[[], bool]) -> None:
        if isinstance(message, AddEvent):
            self._hear_of_event(message, has_more)
        elif isinstance(message, SteerGroup):
            self._hear_of_group(message)
        elif isinstance(message, (AddResult, CreateSubscriber, RemoveSubscriber)):
            if message.root_id != self._membership.root_id:
                self._attempt(self._exchange_changes)
        elif isinstance(message, (AddClaim, RemoveClaim)):
            if message.worker_id != str(self._worker_id):
                self._attempt(lambda: self._check_claim(message.claim_id))
        elif isinstance(message, ResyncRequest):
            if message.root_id != self._membership.root_id:
                self._attempt(lambda: self._resync.answer(self._log, message))
        elif isinstance(message, ResyncDone):
            self._resync.end(message.request_id)
        elif isinstance(message, Heartbeat):
            self._hear_of_worker(message)

    def _hear_of_event(self, message: AddEvent, has_more: Callable[[], bool]) -> None:
        if message.root_id == self._membership.root_id:
            self._watcher.expect(message.last_id)
            if not self._watcher.is_told and message.last_id > self._log.tail():
                self._wait_for_append(message.last_id)
                self._watcher.look()
        elif message.last_id > self._log.tail():
            self._attempt(lambda: self._get_events(message, has_more))

    def _get_events(self, message: AddEvent, has_more: Callable[[], bool]) -> None:
        """Take the event that came with its wake-up, or, where messages come faster than that, all at once."""
        if message.event is None or has_more() or not self._take_event(message.last_id, message.event):
            self._catching_up.fetch()

    def _take_event(self, event_id: int, event: CarriedEvent) -> bool:
        """Append the event that came with its wake-up if it is genuine and the next one; return whether it is there."""
        if self._membership.epoch is None or not is_genuine(self._membership.seal, event_id, event):
            return False
        return self._catching_up.follow(Entry(event_id, event.at, event.payload_fields), event.before)

    def _hear_of_group(self, message: SteerGroup) -> None:
        if message.worker_id != str(self._worker_id):
            self._watcher.look_at_groups()
        if message.root_id != self._membership.root_id:
            self._attempt(self._exchange_changes)

    def _wait_for_append(self, event_id: int) -> None:
        deadline = time.monotonic() + APPEND_SECONDS
        while self._log.tail() < event_id and time.monotonic() < deadline:
            self._pause(APPEND_POLL_SECONDS)

    def _check_claim(self, claim_id: str) -> None:
        token = self._claims.lost(claim_id, self._worker_id)
        if token is not None:
            self._on_claim_lost(claim_id, token)

    def _hear_of_worker(self, message: Heartbeat) -> None:
        if self._membership.epoch not in (None, message.epoch.encode()):
            self._membership.epoch = None
            self._attempt(self._refresh)
        elif not self._membership.knows(message.root_id):
            self._membership.make_due()  # the answer to a heartbeat tells who it is
