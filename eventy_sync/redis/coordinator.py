"""The coordinator of a queue on several hosts: what an open queue has of Redis, and the threads that tend it.

The recovery thread lives while Redis is away, or while events are fetched from another root; the monitor
lives in processes that deliver.  A process that only publishes and reads has neither, most of the time.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import redis

from eventy_sync.errors import CoordinationError, EventyError
from eventy_sync.file.coordinator import ClaimAuthority, Coordinator
from eventy_sync.file.identity import QueueIdentity
from eventy_sync.redis.changes import Changes
from eventy_sync.redis.claims import RedisClaims
from eventy_sync.redis.filling import Filling
from eventy_sync.redis.journal import Journal
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link
from eventy_sync.redis.membership import Membership
from eventy_sync.redis.messages import AddEvent, Changed, Heartbeat, Inbox, ResyncRequest, encode
from eventy_sync.redis.mode import CONNECTED, DEGRADED, REJOINING, Mode
from eventy_sync.redis.monitor import Monitor
from eventy_sync.redis.numbering import RedisNumbering
from eventy_sync.redis.resync import Resync, ResyncNeededError
from eventy_sync.redis.roots import Roots
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.redis.workers import Workers
from eventy_sync.storage.log import Entry, EventLog, LogEnd
from eventy_sync.storage.state import StateStore

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
JOIN_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
_EPOCH = "epoch"


class RedisCoordinator(Coordinator):
    """All methods are thread safe."""

    def __init__(
        self,
        *,
        pool: redis.ConnectionPool,
        keys: Keys,
        queue_name: str,
        root: Path,
        identity: QueueIdentity,
        store: StateStore,
        worker_id: UUID,
        journal_length: int,
        resync: bool,
        resync_timeout_seconds: float,
    ) -> None:
        # fixed after construction
        self._pool, self._keys, self._queue_name, self._worker_id = pool, keys, queue_name, worker_id
        self._publishing, self._asking = Link(self._make_connection), Link(self._make_connection)
        self._journal = Journal(keys, identity.root_id, worker_id, journal_length, self._publishing, self._asking)
        self.roots = Roots(identity.root_id, store)
        self.mode = Mode(queue_name)
        self._membership = Membership(
            root=root,
            queue_name=queue_name,
            identity=identity,
            worker_id=worker_id,
            store=store,
            journal=self._journal,
            filling=Filling(self._journal, journal_length),
            workers=(workers := Workers(keys, self._asking, worker_id, identity.root_id)),
            roots=self.roots,
            link=self._asking,
            wants_all=resync,
        )
        self._workers = workers
        self._stopping = threading.Event()
        self.numbering = RedisNumbering(
            self._journal,
            self._membership,
            self.mode,
            join=self._join,
            catch_up=self._catch_up_locked,
            degrade=self.degrade,
            pause=self._stopping.wait,
        )
        self._redis_claims = RedisClaims(
            store.claims, keys, self._asking, self.mode, self.roots, self._epoch_or_empty, self.degrade
        )
        self.claims: ClaimAuthority = self._redis_claims
        self._resync = Resync(keys, self._asking, pool, resync_timeout_seconds, self._publish_request)
        self._changes = Changes(keys, self._asking, store, identity.root_id)
        self._store = store
        self._inbox = Inbox()
        self._log: EventLog
        self._wake: Callable[[], None]
        self._lock = threading.Lock()
        # guarded by _lock
        self._recovery: threading.Thread | None = None
        self._monitor: Monitor | None = None
        # a hint only
        self._refreshed_at = 0.0

    def _make_connection(self) -> Any:
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def _epoch_or_empty(self) -> bytes:
        return self._membership.epoch or b""

    # -- the beginning and the end ---------------------------------------------------------------------------

    def start(self, log: EventLog, wake: Callable[[], None]) -> None:
        """Begin to serve this log; Redis is asked when it is first needed."""
        self._log, self._wake = log, wake

    def connect(self) -> None:
        """Join now; without Redis, go on degraded and keep trying.

        Raises:
            RedisConfigurationError: Redis will never do what is asked of it as it is set up.
            QueueIdentityError: another queue has this name.
        """
        try:
            self._rejoin()
        except RedisUnavailableError as exc:
            self.degrade(exc)

    def stop(self) -> None:
        """Say goodbye, end all threads and connections."""
        self._stopping.set()
        with self._lock:
            recovery, monitor = self._recovery, self._monitor
        if monitor is not None:
            monitor.stop()
            monitor.join(JOIN_SECONDS)
        self._resync.stop()
        if recovery is not None and recovery is not threading.current_thread():
            recovery.join(JOIN_SECONDS)
        if self.mode.is_connected and (epoch := self._membership.epoch) is not None:
            self._membership.leave(epoch, self._log.tail())
        self.roots.remember_all()
        self._publishing.close()
        self._asking.close()
        self._pool.disconnect()

    # -- joining and catching up -----------------------------------------------------------------------------

    def _rejoin(self) -> None:
        """Join, catch up, and only then be connected."""
        self._asking.command("PING")  # without the append lock: this is what hangs when the server does
        with self._log.appending() as end:
            self._join(end)
        try:
            self.catch_up()
        except ResyncNeededError as needed:
            self.mode.change(REJOINING, needed)
            self.perform_resync(needed.first_id, needed.last_id)
            self.catch_up()
        self._exchange_changes()
        self._beat()
        self.mode.change(CONNECTED)

    def _exchange_changes(self) -> None:
        """Tell the others of results and subscriptions, and hear of theirs."""
        epoch = self._epoch_or_empty()
        if self._store.remembered.get(_EPOCH) != epoch:
            self._store.subscriptions.tell_all()
            self._store.remembered.put(_EPOCH, epoch)
        if self._changes.send():
            message = Changed(str(self._worker_id), self._membership.root_id)
            self._asking.command("PUBLISH", self._keys.channel, encode(message))
        self._changes.apply()

    def _join(self, end: LogEnd) -> bytes:
        return self._membership.join(self._log, end, self._redis_claims)

    def catch_up(self) -> None:
        """Append what others have published.

        Raises:
            CoordinationError: Redis cannot be asked, or the journal does not reach back so far.
            StorageError: the disk refused.
        """
        for entries in self._journal.entries_from(self._log.tail() + 1):
            with self._log.appending() as end:
                _extend(end, entries)
            self._wake()
        self._refreshed_at = time.monotonic()
        if (last_id := self._journal.last_id()) > self._log.tail() and self._journal.is_empty():
            raise ResyncNeededError(self._log.tail() + 1, last_id)

    def _catch_up_locked(self, end: LogEnd) -> None:
        for entries in self._journal.entries_from(end.tail + 1):
            _extend(end, entries)

    def perform_resync(self, first_id: int, last_id: int) -> None:
        """Get these events from another root; what nobody has is written down as lost.

        Raises:
            RedisUnavailableError: Redis cannot be had.
            StorageError: the disk refused.
        """
        has_answered = not self.roots.is_alone and self._resync.ask(first_id, last_id, self._take)
        with self._log.appending() as end:
            if end.tail < last_id:
                logger.error(
                    "events lost: first_id=%d last_id=%d answered=%s: no other root has them",
                    end.tail + 1,
                    last_id,
                    has_answered,
                )
                self._lose(end, last_id)

    def _take(self, entries: Sequence[Entry]) -> None:
        with self._log.appending() as end:
            if entries[0].id > end.tail + 1:
                self._lose(end, entries[0].id - 1)
            end.extend_locked(entries)
        self._wake()

    def _lose(self, end: LogEnd, last_id: int) -> None:
        if end.tail == 0:
            end.start_after_locked(last_id)
        else:
            end.lose_locked(last_id)

    def _publish_request(self, request_id: str, first_id: int, last_id: int) -> None:
        request = ResyncRequest(str(self._worker_id), self._membership.root_id, request_id, first_id, last_id)
        self._asking.command("PUBLISH", self._keys.channel, encode(request))

    def refresh(self) -> None:
        """Catch up if nothing else does and that is a second ago."""
        if self._monitor is None and time.monotonic() - self._refreshed_at >= REFRESH_SECONDS:
            self._attempt(self._refresh)

    def _refresh(self) -> None:
        self._refreshed_at = time.monotonic()
        if self._membership.epoch is None:
            self._rejoin()
        else:
            self.catch_up()
            self._exchange_changes()

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do this unless degraded; become so if Redis cannot be had."""
        if self.mode.value == DEGRADED or self._stopping.is_set():
            return
        try:
            work()
        except RedisUnavailableError as exc:
            self.degrade(exc)
        except ResyncNeededError as exc:
            self._go_on_in_recovery(REJOINING, exc)
        except EventyError as exc:
            if not self._stopping.is_set():
                logger.error("coordination failed, trying again: %s", exc)

    # -- without Redis ---------------------------------------------------------------------------------------

    def degrade(self, exc: CoordinationError) -> None:
        """Go on without Redis, and try to come back in a thread that lives as long as that takes."""
        self._asking.close()
        self._go_on_in_recovery(DEGRADED, exc)

    def _go_on_in_recovery(self, mode: str, exc: CoordinationError) -> None:
        self._membership.epoch = None
        self.mode.change(mode, exc)
        with self._lock:
            if self._recovery is None and not self._stopping.is_set():
                self._recovery = threading.Thread(
                    target=self._recover, name=f"eventy-{self._queue_name}-recovery", daemon=True
                )
                self._recovery.start()

    def _recover(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while not self._stopping.wait(pause_seconds * random.uniform(0.5, 1.5)):
            try:
                self._rejoin()
                break
            except EventyError as exc:
                self.mode.change(DEGRADED, exc if isinstance(exc, CoordinationError) else CoordinationError(str(exc)))
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        with self._lock:
            self._recovery = None
        self._wake()

    # -- listening -------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Start the monitor: this process delivers."""
        with self._lock:
            if self._monitor is None and not self._stopping.is_set():
                name = f"eventy-{self._queue_name}-monitor"
                self._monitor = Monitor(name, self._pool, self._keys.channel, self._subscribed, self.handle_message)
                self._monitor.start()

    def _subscribed(self) -> None:
        self._attempt(self._refresh)

    def handle_message(self, data: bytes) -> None:
        """Take a hint from the channel."""
        message = self._inbox.open(data)
        if isinstance(message, AddEvent):
            if message.root_id == self._membership.root_id:
                self._wake()
            elif message.last_id > self._log.tail():
                self._attempt(self._refresh)
        elif isinstance(message, ResyncRequest):
            if message.root_id != self._membership.root_id:
                self._resync.answer(
                    self._log, self._membership.root_id, message.request_id, message.first_id, message.last_id
                )
        elif isinstance(message, Changed):
            if message.root_id != self._membership.root_id:
                self._attempt(self._exchange_changes)
        elif isinstance(message, Heartbeat) and self._membership.epoch not in (None, message.epoch.encode()):
            self._membership.epoch = None
            self._attempt(self._refresh)

    def tick(self) -> None:
        """Called now and then in a process that delivers: say that it lives, and catch up whatever got lost."""
        if self._workers.is_due():
            self._attempt(self._beat)
        if self.mode.is_connected:
            self._attempt(self._exchange_changes)

    def _beat(self) -> None:
        if (epoch := self._membership.epoch) is None:
            return
        heard = self._membership.announce(epoch, self._log.tail())
        if heard is None:
            self._membership.epoch = None
            self._rejoin()
        elif heard.last_id > self._log.tail():
            self.catch_up()

    # -- health ----------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """Return the mode, why, since when, and the other roots."""
        return {
            "mode": self.mode.value,
            "reason": None if self.mode.error is None else str(self.mode.error),
            "since": self.mode.since,
            "other_roots": len(self.roots.others()),
        }


def _extend(end: LogEnd, entries: Sequence[Entry]) -> None:
    """Append entries of the journal, if it reaches back so far."""
    if entries[0].id > end.tail + 1:
        raise ResyncNeededError(end.tail + 1, entries[0].id - 1)
    end.extend_locked(entries)
