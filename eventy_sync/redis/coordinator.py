"""The coordinator of a queue on several hosts: joining, giving out ids, catching up, going on without Redis.

Publishing holds the append lock across one round trip to Redis; nothing else holds a lock across the
network, but for joining, which is done only when the server has just answered.
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

from eventy_sync.errors import CoordinationError, EventyError, QueueIdentityError, RedisConfigurationError, StorageError
from eventy_sync.file.coordinator import ClaimAuthority, Coordinator
from eventy_sync.file.identity import QueueIdentity, adopt
from eventy_sync.redis.claims import RedisClaims
from eventy_sync.redis.filling import Filling
from eventy_sync.redis.journal import Joined, Journal, Published, Refused
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link
from eventy_sync.redis.messages import AddEvent, Heartbeat, Inbox, ResyncRequest, encode
from eventy_sync.redis.mode import CONNECTED, DEGRADED, REJOINING, Mode
from eventy_sync.redis.monitor import Monitor
from eventy_sync.redis.resync import Resync, ResyncNeededError
from eventy_sync.redis.roots import Roots
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.redis.workers import Heard, Workers
from eventy_sync.storage.log import Batch, Entry, EventLog, LocalNumbering, LogEnd
from eventy_sync.storage.state import StateStore

logger = logging.getLogger(__name__)

AWAIT_SECONDS = 3.0
"""So long a publish waits for other roots to say how far they are, after the server has lost something."""
REFRESH_SECONDS = 1.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
_AWAIT_PAUSE_SECONDS = 0.01
_JOINED = "joined"


class RedisCoordinator(Coordinator):
    """All methods are thread safe.  `number` is called under the append lock."""

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
        self._pool, self._keys, self._queue_name = pool, keys, queue_name
        self._root, self._store, self._worker_id = root, store, worker_id
        self._publishing, self._asking = Link(self._make_connection), Link(self._make_connection)
        self._journal = Journal(keys, identity.root_id, worker_id, journal_length, self._publishing, self._asking)
        self._filling = Filling(self._journal, journal_length)
        self._local = LocalNumbering()
        self.roots = Roots(identity.root_id, store)
        self.mode = Mode(queue_name)
        self.numbering = self
        self._redis_claims = RedisClaims(
            store.claims, keys, self._asking, self.mode, self.roots, self._epoch_or_empty, self.degrade
        )
        self.claims: ClaimAuthority = self._redis_claims
        self._resync = Resync(keys, self._asking, pool, resync_timeout_seconds, self._publish_request)
        self._wants_all = resync
        self._workers = Workers(keys, self._asking, worker_id, identity.root_id)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        # guarded by _lock
        self._recovery: threading.Thread | None = None
        self._monitor: Monitor | None = None
        # written under the append lock
        self._identity = identity
        self._epoch: bytes | None = None
        # hints only
        self._refreshed_at = 0.0
        self._log: EventLog
        self._wake: Callable[[], None]

    def _make_connection(self) -> Any:
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def _epoch_or_empty(self) -> bytes:
        return self._epoch or b""

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
            monitor.join(5.0)
        self._resync.stop()
        if recovery is not None and recovery is not threading.current_thread():
            recovery.join()
        if self.mode.is_connected and self._epoch is not None:
            self._say_goodbye(self._epoch)
        self.roots.remember_all()
        self._publishing.close()
        self._asking.close()
        self._pool.disconnect()

    def _say_goodbye(self, epoch: bytes) -> None:
        try:
            is_last = self._workers.leave()
            self._workers.beat(epoch, self.roots.myself(self._log.tail(), closed=is_last), None)
        except (CoordinationError, StorageError) as exc:
            logger.info("left without a word: %s", exc)

    # -- joining ---------------------------------------------------------------------------------------------

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
        self._beat()
        self.mode.change(CONNECTED)

    def _join(self, end: LogEnd) -> None:
        """Tell Redis how far this root is, and bring both to the same.  Under the append lock."""
        is_new = end.tail == 0 and self._store.remembered.get(_JOINED) is None
        self._redis_claims.write_back()  # before: nobody may be granted them while this root is awaited
        joined = self._journal.join(
            self._identity.queue_id,
            end.tail,
            self.roots.myself(end.tail),
            self._run_id(),
            self._store.claims.last_token(),
            list(self.roots.others()),
            adopts=end.tail == 0,
        )
        if isinstance(joined, Refused):
            raise QueueIdentityError(
                f"another queue is called {self._queue_name!r} in Redis (its queue_id is {joined.detail}, this root's "
                f"{self._identity.queue_id}): choose another name= or redis_prefix=, or another root_dir"
            )
        if joined.queue_id != self._identity.queue_id:
            self._identity = adopt(self._root, joined.queue_id)
        self.roots.learn(joined.roots)
        if is_new and joined.last_id and not self._wants_all:
            end.start_after_locked(joined.last_id)
        else:
            self._level(end, joined)
        if is_new:
            self._store.remembered.put(_JOINED, joined.queue_id.bytes)
        self._epoch = joined.epoch
        if not self.roots.is_alone:
            self._announce(joined.epoch, end.tail)

    def _announce(self, epoch: bytes, tail: int) -> Heard | None:
        """Say that this worker lives and which epoch it is, so that others need not find out; hear of the others."""
        message = Heartbeat(str(self._worker_id), str(self._identity.root_id), epoch.decode())
        return self._workers.beat(epoch, self.roots.myself(tail), encode(message))

    def _level(self, end: LogEnd, joined: Joined) -> None:
        """Make sure that journal and log tell the same, and give the journal what it lacks."""
        diverged = self._filling.has_diverged(self._log, end.tail, joined.journaled_id)
        if diverged and not self.roots.is_alone:
            raise QueueIdentityError(
                f"this root has gone its own way: event {min(end.tail, joined.journaled_id)} is another one elsewhere; "
                "move the directory away and let the queue make a new one with resync=True"
            )
        if diverged or joined.journaled_id < joined.last_id == end.tail:
            self._filling.fill(self._log, joined.epoch, joined.journaled_id, end.tail, anew=diverged)

    def _run_id(self) -> str:
        """Return what tells one start of the server from another; "" where this user may not ask."""
        try:
            told = self._asking.command("INFO", "server")
        except RedisConfigurationError:
            return ""
        for line in told.splitlines():
            if line.startswith(b"run_id:"):
                return str(line.partition(b":")[2].decode())
        return ""

    # -- giving out ids --------------------------------------------------------------------------------------

    def number(self, end: LogEnd, batches: Sequence[Batch]) -> tuple[int, int]:
        """Get ids and time from Redis; alone and without it, from the log.

        Raises:
            CoordinationError: other roots have this queue and Redis cannot be asked.
        """
        payload_fields = [each for batch in batches for each in batch.payload_fields]
        token = self._journal.token()
        deadline = time.monotonic() + AWAIT_SECONDS
        failures = 0
        is_unknown = False  # whether Redis has done what it was asked; asking again with the same token settles it
        while (self.mode.value != DEGRADED or is_unknown) and time.monotonic() < deadline + AWAIT_SECONDS:
            try:
                epoch = self._epoch
                if epoch is None:
                    self._join(end)
                    continue
                is_unknown = True
                reply = self._journal.publish(epoch, token, end.tail, end.last_at, payload_fields)
                is_unknown = False
                if isinstance(reply, Published):
                    return self._accept(end, reply)
                self._overcome(reply, end, deadline)
            except RedisUnavailableError as exc:
                failures += 1
                if not is_unknown or failures > 1 or "imeout" in str(exc):
                    self.degrade(exc)
                    break
        if self.roots.is_alone:
            return self._local.number(end, batches)
        raise self.mode.refusal(
            "whether the event was published is unknown" if is_unknown else "the event was not published"
        )

    def _accept(self, end: LogEnd, reply: Published) -> tuple[int, int]:
        if reply.missing:
            end.extend_locked(reply.missing)
        if reply.roots != self.roots.count:
            self._greet(end.tail)
        if self.mode.value == REJOINING and self._monitor is None:
            self.mode.change(CONNECTED)
        return reply.first_id, reply.at

    def _greet(self, tail: int) -> None:
        """Learn of roots that are new: only who knows of others knows what is safe without Redis."""
        if self._epoch is not None:
            heard = self._announce(self._epoch, tail)
            if heard is not None:
                self.roots.learn(heard.roots)

    def _overcome(self, reply: Refused, end: LogEnd, deadline: float) -> None:
        """Do what stands between this root and its ids, or raise."""
        if reply.reason == "rejoin":
            self._epoch = None
        elif reply.reason == "behind":
            self._catch_up_locked(end)
        else:
            self._await_roots(deadline)

    def _await_roots(self, deadline: float) -> None:
        awaited, alive = self._journal.awaited(), self.roots.others()
        gone = [each for each in awaited if each not in alive]
        if gone:
            self._journal.forget(gone)
            return
        if time.monotonic() > deadline:
            hosts = ", ".join(sorted(f"{each} on {alive[each].host}" for each in awaited))
            raise CoordinationError(
                f"the event was not published: Redis has lost something, and the root {hosts} has not said yet how far "
                "its log goes; start a worker there, or, if it is gone for good, forget it: eventy-sync forget-root"
            )
        self._stopping.wait(_AWAIT_PAUSE_SECONDS)

    # -- catching up -----------------------------------------------------------------------------------------

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
        request = ResyncRequest(str(self._worker_id), str(self._identity.root_id), request_id, first_id, last_id)
        self._asking.command("PUBLISH", self._keys.channel, encode(request))

    def refresh(self) -> None:
        """Catch up if nothing else does and that is a second ago."""
        if self._monitor is None and time.monotonic() - self._refreshed_at >= REFRESH_SECONDS:
            self._attempt(self._refresh)

    def _refresh(self) -> None:
        self._refreshed_at = time.monotonic()
        if self._epoch is None:
            self._rejoin()
        else:
            self.catch_up()

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
            logger.error("coordination failed, trying again: %s", exc)

    # -- without Redis ---------------------------------------------------------------------------------------

    def degrade(self, exc: CoordinationError) -> None:
        """Go on without Redis, and try to come back in a thread that lives as long as that takes."""
        self._asking.close()
        self._go_on_in_recovery(DEGRADED, exc)

    def _go_on_in_recovery(self, mode: str, exc: CoordinationError) -> None:
        self._epoch = None
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
                self._inbox = Inbox()
                name = f"eventy-{self._queue_name}-monitor"
                self._monitor = Monitor(name, self._pool, self._keys.channel, self._subscribed, self.handle_message)
                self._monitor.start()

    def _subscribed(self) -> None:
        self._attempt(self._refresh)

    def handle_message(self, data: bytes) -> None:
        """Take a hint from the channel."""
        message = self._inbox.open(data)
        if isinstance(message, AddEvent):
            if message.root_id == str(self._identity.root_id):
                self._wake()
            elif message.last_id > self._log.tail():
                self._attempt(self._refresh)
        elif isinstance(message, ResyncRequest):
            if message.root_id != str(self._identity.root_id):
                self._resync.answer(
                    self._log, str(self._identity.root_id), message.request_id, message.first_id, message.last_id
                )
        elif isinstance(message, Heartbeat) and self._epoch not in (None, message.epoch.encode()):
            self._epoch = None
            self._attempt(self._refresh)

    def tick(self) -> None:
        """Called now and then in a process that delivers: say that it lives, and catch up whatever got lost."""
        if self._workers.is_due():
            self._attempt(self._beat)

    def _beat(self) -> None:
        if (epoch := self._epoch) is None:
            return
        heard = self._announce(epoch, self._log.tail())
        if heard is None:
            self._epoch = None
            self._rejoin()
            return
        self.roots.learn(heard.roots)
        if heard.last_id > self._log.tail():
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
