"""A root among the roots of its queue: joining, saying how far its log goes, hearing of the others.

Joining is where the epoch is learnt under which everything else is done.  When the server has lost
anything the disk wins: this root's log and claims are told before it counts as joined.
"""

from __future__ import annotations

import logging
from uuid import UUID

from eventy_sync.errors import CoordinationError, QueueIdentityError, StorageError
from eventy_sync.file.identity import adopt, mark_joined
from eventy_sync.redis.claims import RedisClaims
from eventy_sync.redis.filling import Filling
from eventy_sync.redis.journal import Joined, Journal, Refused
from eventy_sync.redis.messages import Heartbeat, encode
from eventy_sync.redis.roots import Root, Roots
from eventy_sync.redis.site import Site
from eventy_sync.redis.workers import Heard, Workers
from eventy_sync.storage.log import EventLog, LogEnd

logger = logging.getLogger(__name__)

_JOINED = "joined"


class Membership:
    """Thread safe; `join` is called under the append lock.  `epoch` is None while this root has to join."""

    def __init__(
        self,
        site: Site,
        *,
        journal: Journal,
        filling: Filling,
        workers: Workers,
        roots: Roots,
        wants_all: bool,
    ) -> None:
        # fixed after construction
        self._root, self._shared_name = site.root, site.shared_name
        self._worker_id, self._store = site.worker_id, site.store
        self._journal, self._filling, self._workers = journal, filling, workers
        self._wants_all = wants_all
        self.root_id = str(site.root_id)
        self.roots = roots
        # written under the append lock; forgotten by anybody
        self._identity = site.identity
        self.epoch: bytes | None = None
        self.seal = b""  # of the epoch in which this root has joined last

    @property
    def queue_id(self) -> UUID:
        """Which queue this root is of; an empty one takes another's when it joins that."""
        return self._identity.queue_id

    def epoch_or_empty(self) -> bytes:
        """Return the epoch in which this root has joined, b"" if it has to join anew."""
        return self.epoch or b""

    def leave_epoch(self, present: bytes) -> bool:
        """Join anew before anything else if this root has joined in another epoch; return whether it had."""
        had_joined = self.epoch not in (None, present)
        if had_joined:
            self.epoch = None
        return had_joined

    def join(self, log: EventLog, end: LogEnd, claims: RedisClaims) -> bytes:
        """Tell Redis how far this root is, and bring both to the same; return the epoch.

        Raises:
            QueueIdentityError: another queue has this name, or this root has gone its own way.
            RedisUnavailableError: Redis cannot be had.
        """
        self.roots.oldest_here = lambda: log.oldest(refresh=True)
        is_new = end.tail == 0 and self._store.remembered.get(_JOINED) is None
        epoch_before = self._journal.epoch()
        claims.write_back()  # before: nobody may be granted them while this root is awaited
        joined = self._journal.join(
            self._identity.queue_id,
            end.tail,
            self.roots.myself(end.tail),
            self._store.claims.last_token(),
            list(self.roots.others()),
            adopts=end.tail == 0,
        )
        if isinstance(joined, Refused):
            raise QueueIdentityError(
                f"another queue is called {self._shared_name.name!r} in Redis (its queue_id is {joined.detail}, this "
                f"root's {self._identity.queue_id}): choose another name= or redis_prefix=, or another root_dir"
            )
        is_anothers = joined.queue_id != self._identity.queue_id
        if is_anothers:
            self._identity = adopt(self._root, joined.queue_id)
        if self._identity.joined != self._shared_name:
            end.rotate_locked()  # whoever has this root open without Redis looks at its identity now
            self._identity = mark_joined(self._root, self._shared_name)
        self._learn(joined.roots)
        if is_new and joined.last_id and not self._wants_all:
            end.start_after_locked(joined.last_id)
        else:
            self._level(log, end, joined)
        if is_new:
            self._store.remembered.put(_JOINED, joined.queue_id.bytes)
        if joined.epoch != epoch_before or is_anothers:
            claims.write_back(are_from_elsewhere=is_anothers)  # forgotten in between, maybe, or not taken before
        self.epoch, self.seal = joined.epoch, joined.seal
        claims.settle()
        if not self.roots.is_alone:
            self.announce(joined.epoch, end.tail)
        return joined.epoch

    def _level(self, log: EventLog, end: LogEnd, joined: Joined) -> None:
        """Make sure that journal and log tell the same, and give the journal what it lacks."""
        diverged = self._filling.has_diverged(log, end.tail, joined.journaled_id)
        if diverged and not self.roots.is_alone:
            raise QueueIdentityError(
                f"this root has gone its own way: event {min(end.tail, joined.journaled_id)} is another one elsewhere; "
                "move the directory away and let the queue make a new one with resync=True"
            )
        if diverged or joined.journaled_id < joined.last_id == end.tail:
            self._filling.fill(log, joined.epoch, joined.journaled_id, end.tail, anew=diverged)

    def announce(self, epoch: bytes, tail: int) -> Heard | None:
        """Say that this worker lives and which epoch it is; hear of the others, or None: the epoch is over."""
        message = Heartbeat(str(self._worker_id), self.root_id, epoch.decode())
        heard = self._workers.beat(epoch, self.roots.myself(tail), encode(message))
        if heard is not None:
            self._learn(heard.roots)
        return heard

    def _learn(self, pairs: list[bytes]) -> None:
        """Take over what Redis has of roots; tell it of those forgotten here without it, and of those long gone."""
        self.roots.learn(pairs)
        if self.roots.untold:
            self._journal.forget(self.roots.untold)
        if self.roots.expired:
            self._journal.expire(self.roots.expired, self.roots.kept_seconds)

    def knows(self, root_id: str) -> bool:
        """Return whether this is our root, or one that may be alive."""
        return root_id == self.root_id or root_id in self.roots.others()

    def make_due(self) -> None:
        """Say again soon that this worker lives, and so hear of the others."""
        self._workers.make_due()

    def is_due(self) -> bool:
        """Return whether it is time to say again that this worker lives."""
        return self._workers.is_due()

    def awaited(self) -> dict[str, Root]:
        """Return the roots that must say how far they are, without those that are gone, which are forgotten.

        Raises:
            RedisUnavailableError: Redis cannot be had.
        """
        awaited, alive = self._journal.awaited(), self.roots.others()
        if gone := [each for each in awaited if each not in alive]:
            self._journal.forget(gone)
        return {each: alive[each] for each in awaited if each in alive}

    def leave(self, epoch: bytes, tail: int) -> None:
        """Say that this worker ends, and, if it is the root's last one, that the root is closed."""
        try:
            self._workers.leave(epoch, self.roots.myself(tail), self.roots.myself(tail, closed=True))
        except (CoordinationError, StorageError) as exc:
            logger.info("left without a word: %s", exc)
