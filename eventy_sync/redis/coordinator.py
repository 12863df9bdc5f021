"""The coordinator of a queue on several hosts: what an open queue has of Redis, and the threads that tend it.

The recovery thread lives while Redis is away, or while events are fetched from another root; the monitor
lives in processes that deliver or wait.  A process that only publishes and reads has neither, most of the time.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from eventy_sync.delivery.leases import LeaseAuthority
from eventy_sync.errors import CoordinationError, EventyError
from eventy_sync.file.coordinator import ClaimAuthority, Coordinator, Watcher
from eventy_sync.file.metering import Meter
from eventy_sync.redis.background import Background
from eventy_sync.redis.catching_up import CatchingUp
from eventy_sync.redis.changes import Changes
from eventy_sync.redis.claim_scripts import ClaimScripts
from eventy_sync.redis.claim_search import ClaimSearch
from eventy_sync.redis.claims import RedisClaims
from eventy_sync.redis.filling import Filling
from eventy_sync.redis.group_checkpoints import GroupCheckpoints
from eventy_sync.redis.group_steering import GroupSteering
from eventy_sync.redis.hearing import Hearing
from eventy_sync.redis.journal import DivergedError, Journal
from eventy_sync.redis.lease_requests import LeaseRequests
from eventy_sync.redis.leases import RedisLeases
from eventy_sync.redis.membership import Membership
from eventy_sync.redis.mode import CONNECTED, DEGRADED, REJOINING, Mode
from eventy_sync.redis.monitor import Monitor
from eventy_sync.redis.numbering import RedisNumbering
from eventy_sync.redis.operations import Operations
from eventy_sync.redis.resync import Resync, ResyncNeededError
from eventy_sync.redis.roots import Roots
from eventy_sync.redis.server_info import EvictionWarning
from eventy_sync.redis.site import Site
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.redis.workers import Workers
from eventy_sync.storage.log import EventLog, LogEnd

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
JOIN_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
FILL_ATTEMPTS, FILL_PAUSE_SECONDS = 3, 0.05
APPLY_SECONDS = 5.0
"""So often changes are looked for that no message has told of."""


class RedisCoordinator(Coordinator):
    """All methods are thread safe."""

    numbering: RedisNumbering
    hears_others = True

    def __init__(self, site: Site, *, journal_length: int, resync: bool, resync_timeout_seconds: float) -> None:
        # fixed after construction
        self._site, self._store = site, site.store
        self.roots, self.mode = Roots(site.root_id, site.store), Mode(site.shared_name.name)
        self._stopping = threading.Event()
        self._publishing, self._asking = site.links(lambda present: self._membership.leave_epoch(present))
        self._eviction = EvictionWarning(site.shared_name.name, self._asking)
        self._workers = Workers(site.keys, self._asking, site.worker_id, site.root_id)
        self._make_what_joins(journal_length, resync)
        self._make_what_catches_up(resync_timeout_seconds)
        self._make_what_serves()
        self._log: EventLog
        self._watcher: Watcher
        self._recovery = Background(f"eventy-{site.shared_name.name}-recovery")
        self._state_resync = Background(f"eventy-{site.shared_name.name}-resync")
        self._lock = threading.Lock()
        # guarded by _lock
        self._monitor: Monitor | None = None
        # hints only
        self._refreshed_at = 0.0
        self._applied_at = 0.0
        self._can_tell = True

    def _make_what_joins(self, journal_length: int, wants_all: bool) -> None:
        site = self._site
        self._journal = Journal(
            site.keys, site.root_id, site.worker_id, journal_length, self._publishing, self._asking, site.sessions
        )
        self._membership = Membership(
            site,
            journal=self._journal,
            filling=Filling(self._journal, journal_length),
            workers=self._workers,
            roots=self.roots,
            wants_all=wants_all,
        )
        where, epoch = (site.keys, self._asking), self._membership.epoch_or_empty
        self._redis_claims = RedisClaims(
            site.store.claims,
            ClaimScripts(*where, site.sessions, site.root_id, epoch, lambda: self._membership.queue_id),
            ClaimSearch(site.keys, self._asking),
            self.mode,
            self.roots,
            rejoin=self._rejoin_or_be_unavailable,
            forget_gone=self._membership.awaited,
            degrade=self.degrade,
            pause=self._stopping.wait,
        )
        self.claims: ClaimAuthority = self._redis_claims
        self.leases: LeaseAuthority = self._make_leases()

    def _make_leases(self) -> RedisLeases:
        site = self._site
        where, epoch = (site.keys, self._asking), self._membership.epoch_or_empty
        self._checkpoints = GroupCheckpoints(*where, site.store.mirror, site.root_id, epoch)
        return RedisLeases(
            site.store,
            LeaseRequests(*where, site.sessions, site.root_id, epoch),
            GroupSteering(*where, site.root_id, site.worker_id, epoch),
            self._checkpoints,
            self.mode,
            self.roots,
            epoch=epoch,
            rejoin=self._rejoin,
            forget_gone=self._membership.awaited,
            degrade=self.degrade,
            pause=self._stopping.wait,
        )

    def _make_what_catches_up(self, resync_timeout_seconds: float) -> None:
        site = self._site
        self._changes = Changes(site.keys, self._asking, site.store, site.root_id, site.worker_id)
        self._resync = Resync(site, self._asking, resync_timeout_seconds)
        self._catching_up = CatchingUp(self._journal, self._resync, self._changes, self.roots)

    def _make_what_serves(self) -> None:
        site = self._site
        self.numbering = RedisNumbering(
            self._journal,
            self._membership,
            self.mode,
            join=self._join,
            catch_up=self._catching_up.extend_locked,
            resync=lambda needed: self._go_on_in_recovery(REJOINING, needed),
            degrade=self.degrade,
            pause=self._stopping.wait,
        )
        self.operations = Operations(
            site.keys, self._asking, self._journal, self.roots, self._workers, self.mode, site.root_id, self.degrade
        )
        self.hearing = Hearing(
            worker_id=site.worker_id,
            membership=self._membership,
            catching_up=self._catching_up,
            resync=self._resync,
            claims=self._redis_claims,
            attempt=self._attempt,
            refresh=self._refresh,
            exchange_changes=self._exchange_changes,
            pause=self._stopping.wait,
        )

    def measure(self, meter: Meter | None) -> None:
        """Tell this meter how long Redis takes to answer what is published and asked, messages and resyncs apart."""
        self._publishing.on_answer = self._asking.on_answer = None if meter is None else meter.asked_redis

    # -- the beginning and the end ---------------------------------------------------------------------------

    def start(self, log: EventLog, watcher: Watcher, on_claim_lost: Callable[[str, int], None]) -> None:
        """Begin to serve this log; Redis is asked when it is first needed."""
        self._log, self._watcher = log, watcher
        self._catching_up.start(log, watcher)
        self.hearing.start(log, watcher, on_claim_lost)

    def connect(self) -> None:
        """Join now; without Redis, go on degraded and keep trying.

        Raises:
            RedisConfigurationError: Redis will never do what is asked of it as it is set up.
            QueueIdentityError: another queue has this name.
        """
        try:
            self._rejoin_whatever_it_takes()
        except RedisUnavailableError as exc:
            self.degrade(exc)
        except (ResyncNeededError, DivergedError) as exc:
            self._go_on_in_recovery(REJOINING, exc)

    def stop(self) -> None:
        """Say goodbye, end all threads and connections."""
        self._stopping.set()
        with self._lock:
            monitor = self._monitor
        if monitor is not None:
            monitor.stop()
            monitor.join(JOIN_SECONDS)
        self._resync.stop()
        self._recovery.end(JOIN_SECONDS)
        self._state_resync.end(JOIN_SECONDS)
        if self.mode.is_connected and (epoch := self._membership.epoch) is not None:
            self._tell_before_the_end()
            self._membership.leave(epoch, self._log.tail())
        self.roots.remember_all()
        self._publishing.end()
        self._asking.end()
        self._site.pool.disconnect()

    def _tell_before_the_end(self) -> None:
        try:
            self._changes.tell()
        except EventyError as exc:
            logger.info("results not told yet, the next worker will: %s", exc)

    # -- joining and catching up -----------------------------------------------------------------------------

    def _rejoin(self) -> None:
        """Join, catch up, and only then be connected.

        Raises:
            ResyncNeededError: the journal does not reach back so far.
            RedisUnavailableError: Redis cannot be had.
        """
        self._asking.command("PING")  # without the append lock: this is what hangs when the server does
        with self._log.appending() as end:
            self._join(end)
        self._catch_up_patiently()
        self._exchange_changes()
        self._beat()
        self._eviction.look()
        self.mode.change(CONNECTED)
        self._redis_claims.write_back_if_granted_alone()

    def _rejoin_whatever_it_takes(self) -> None:
        """Do so, and get from another root what the journal has no more; not where others wait: that takes long."""
        try:
            self._rejoin()
        except ResyncNeededError as needed:
            self.mode.change(REJOINING, needed)
            self._catching_up.perform_resync(needed.first_id, needed.last_id)
            self._rejoin()  # once more: the server may have lost something since

    def _rejoin_or_be_unavailable(self) -> None:
        """Do so, or leave it to the recovery thread to go on."""
        try:
            self._rejoin()
        except (ResyncNeededError, DivergedError) as exc:
            self._go_on_in_recovery(REJOINING, exc)
            raise RedisUnavailableError(str(exc)) from exc

    def _catch_up_patiently(self) -> None:
        """Catch up, and give a root that is just filling the journal a moment before others are asked."""
        for _ in range(FILL_ATTEMPTS):
            try:
                return self._catching_up.catch_up()
            except ResyncNeededError:
                self._stopping.wait(FILL_PAUSE_SECONDS)
        self._catching_up.catch_up()

    def _join(self, end: LogEnd) -> bytes:
        told_epoch = self._checkpoints.tell()  # before: no lease is given while this root is awaited
        epoch = self._membership.join(self._log, end, self._redis_claims)
        self._checkpoints.tell_again(told_epoch, epoch)
        return epoch

    def _exchange_changes(self) -> None:
        """Tell the others of results and subscriptions, hear of theirs, and get in a thread what was missed of them."""
        if (epoch := self._membership.epoch) is not None:
            self._changes.begin(epoch)
        self._changes.tell()
        self._changes.apply()
        self._applied_at = time.monotonic()
        if self._changes.missing_since() is not None and self._monitor is not None:
            self._state_resync.start(self._resync_state)

    def _resync_state(self) -> None:
        if self._changes.missing_since() is not None:
            self._attempt(lambda: self._catching_up.perform_resync(0, 0))

    def refresh(self) -> None:
        """Catch up if nothing else does and that is a second ago."""
        self.mode.log_what_was_left_out()
        if self._monitor is None and time.monotonic() - self._refreshed_at >= REFRESH_SECONDS:
            self._attempt(self._refresh)

    def _refresh(self) -> None:
        self._refreshed_at = time.monotonic()
        if self._membership.epoch is None:
            self._rejoin()
        else:
            self._catching_up.catch_up()
            self._exchange_changes()
            if self._workers.is_due():  # a process without a watcher says here that it lives
                self._beat()

    def request_resync(self) -> None:
        """Catch up now; what the journal no longer has comes from another root, in a thread.  Never raises."""
        self._attempt(self._refresh)

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do this unless degraded; become so if Redis cannot be had."""
        if self.mode.value == DEGRADED or self._stopping.is_set():
            return
        try:
            work()
        except RedisUnavailableError as exc:
            if not self._stopping.is_set():
                self.degrade(exc)
        except (ResyncNeededError, DivergedError) as exc:
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
        self._recovery.start(self._recover)

    def _recover(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while not self.mode.is_connected and not self._stopping.wait(pause_seconds * random.uniform(0.5, 1.5)):
            try:
                self._rejoin_whatever_it_takes()
            except EventyError as exc:
                self.mode.change(DEGRADED, exc if isinstance(exc, CoordinationError) else CoordinationError(str(exc)))
                self.mode.log_what_was_left_out()
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        self._watcher.look()
        self._watcher.look_at_groups()

    # -- listening -------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """This process delivers, or waits for what others do: listen."""
        with self._lock:
            if self._monitor is None and not self._stopping.is_set():
                self._monitor = self.start_pubsub_monitor()

    def start_pubsub_monitor(self) -> Monitor:
        """Start the thread that listens to the channel, and return it."""
        name = f"eventy-{self._site.shared_name.name}-monitor"
        monitor = Monitor(name, self._site.pool, self._site.keys.channel, self._subscribed, self.hearing.handle)
        monitor.start()
        return monitor

    def _subscribed(self) -> None:
        self._attempt(self._refresh)

    def tick(self) -> None:
        """Called now and then in a process that delivers: say that it lives, and catch up whatever got lost."""
        self.mode.log_what_was_left_out()
        if self._workers.is_due():
            self._attempt(self._beat)
        if self._monitor is not None:
            self._monitor.break_if_silent()
        if not self.mode.is_connected:
            return
        if self._store.outbox.may_have:
            self._can_tell = False
            self._attempt(self._tell)
        if time.monotonic() - self._applied_at >= APPLY_SECONDS:
            self._attempt(self._exchange_changes)

    def _tell(self) -> None:
        self._changes.tell()
        self._can_tell = True

    def is_tick_due(self) -> bool:
        """Return whether there are results or subscriptions to tell, and telling did not fail a moment ago."""
        return self._can_tell and self.mode.is_connected and self._store.outbox.may_have

    def _beat(self) -> None:
        if (epoch := self._membership.epoch) is None:
            return
        tail = self._log.tail()
        heard = self._membership.announce(epoch, tail)
        if heard is None or heard.last_id < tail:  # another process of this root has published alone
            self._membership.epoch = None
            self._rejoin()
        elif heard.last_id > self._log.tail():
            self._catching_up.catch_up()

    # -- health ----------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """Return the mode, why, since when, and the other roots."""
        return {
            "mode": self.mode.value,
            "reason": None if self.mode.error is None else str(self.mode.error),
            "since": self.mode.since,
            "other_roots": len(self.roots.others()),
        }
