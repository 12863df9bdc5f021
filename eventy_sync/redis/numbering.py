"""Ids and times from Redis, in one round trip for all that is published together.

Called under the append lock, which is thus held across the network, here and nowhere else but in joining:
that is what keeps ids in the order of the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from eventy_sync.errors import CoordinationError, QueueIdentityError, StorageError
from eventy_sync.redis.journal import DivergedError, Journal, Published, Refused
from eventy_sync.redis.keyed import settle_taken
from eventy_sync.redis.membership import Membership
from eventy_sync.redis.mode import CONNECTED, DEGRADED, REJOINING, Mode
from eventy_sync.redis.resync import ResyncNeededError
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.storage.log import KeyedPublish, LocalNumbering, LogEnd, not_written_yet

logger = logging.getLogger(__name__)

AWAIT_SECONDS = 3.0
"""So long a publish waits for other roots to say how far they are, after the server has lost something."""
FILL_SECONDS = 0.1
"""So long a publish waits for another root that is filling the journal."""
LONGEST_SECONDS = 6.0
MAX_FAILURES = 3
"""So often a publish goes on at once: two connections may be dead, and the next one lead to another server."""
_PAUSE_SECONDS = 0.01


class RedisNumbering:
    """A `Numbering`; alone and without Redis, ids come from the log."""

    def __init__(
        self,
        journal: Journal,
        membership: Membership,
        mode: Mode,
        *,
        join: Callable[[LogEnd], bytes],
        catch_up: Callable[[LogEnd], None],
        resync: Callable[[ResyncNeededError], None],
        degrade: Callable[[CoordinationError], None],
        pause: Callable[[float], object],
    ) -> None:
        self._journal, self._membership, self._mode = journal, membership, mode
        self._join, self._catch_up, self._resync = join, catch_up, resync
        self._degrade, self._pause = degrade, pause
        self._local = LocalNumbering()
        self.is_shared = False  # written under the append lock
        self._silent: set[str] = set()  # written under the append lock: roots that were waited for in vain

    def number(self, end: LogEnd, payload_fields: Sequence[bytes]) -> tuple[int, int]:
        """See `Numbering.number`.

        Raises:
            CoordinationError: other roots have this queue, and Redis cannot be asked or has to wait for them.
        """
        published, is_unknown = self.publish_to_redis(end, payload_fields)
        return self._numbered(end, published, is_unknown)

    def number_keyed(self, end: LogEnd, keyed: KeyedPublish) -> tuple[int, int]:
        """See `Numbering.number_keyed`; raises what `number` does.

        Raises:
            EventExpiredError: the key has an event that this root, which began later, does not have.
        """
        keyed.check()
        published, is_unknown = self.publish_to_redis(end, [keyed.payload_fields], keyed=keyed)
        return self._numbered(end, published, is_unknown)

    def _numbered(self, end: LogEnd, published: tuple[int, int] | None, is_unknown: bool) -> tuple[int, int]:
        self.is_shared = published is not None
        if published is not None:
            return published
        if self._membership.roots.is_alone:
            return self._local.number(end, ())
        raise self._mode.refusal(_what_became_of_it(is_unknown))

    def publish_to_redis(
        self,
        end: LogEnd,
        payload_fields: Sequence[bytes],
        *,
        keyed: KeyedPublish | None = None,
    ) -> tuple[tuple[int, int] | None, bool]:
        """Return first id and time, or None if Redis cannot be had, and whether it may have published all the same."""
        started, refused_at, failures = time.monotonic(), 0.0, 0
        lost_token = lost_epoch = b""  # of a request whose reply was lost: asking once more settles it
        while (self._mode.value != DEGRADED or lost_token) and time.monotonic() < started + LONGEST_SECONDS:
            token = b""
            try:
                epoch = self._membership.epoch or self._join(end)
                if lost_token and epoch != lost_epoch and not self._journal.has_served(lost_token):
                    self._degrade(CoordinationError("Redis has lost something since it was asked"))
                    break  # it may have been served before, and another root may have the event
                token = self._journal.token()
                reply = self._journal.publish(
                    epoch, token, lost_token, end.tail, end.tail_at, payload_fields, keyed=keyed
                )
                if isinstance(reply, Published):
                    return self._accept(end, epoch, reply), False
                refused_at = refused_at or time.monotonic()  # not before: a reply that was lost may have come late
                self._overcome(reply, end, time.monotonic() - refused_at, keyed)
            except RedisUnavailableError as exc:
                failures += 1
                is_lost_again = bool(token and lost_token and exc.may_have_run)  # one token alone can be asked for
                if token and exc.may_have_run:
                    lost_token, lost_epoch = lost_token or token, lost_epoch or epoch
                    self._journal.give_up_session()
                if failures > MAX_FAILURES or exc.is_timeout or is_lost_again:
                    self._degrade(exc)
                    break
            except DivergedError:
                self._membership.epoch = None
            except ResyncNeededError as exc:
                self._resync(exc)
                raise CoordinationError(f"{_what_became_of_it(bool(lost_token))}: {exc}") from exc
            except QueueIdentityError as exc:
                self._degrade(exc)
                raise
        return None, bool(lost_token)

    def _accept(self, end: LogEnd, epoch: bytes, reply: Published) -> tuple[int, int]:
        if reply.missing:
            try:
                end.extend_locked(reply.missing)
            except StorageError as exc:
                raise not_written_yet(reply.first_id, exc) from exc
        if reply.roots != self._membership.roots.count or self._membership.is_due():
            self._announce(epoch, end.tail)
        if self._mode.value == REJOINING:
            self._mode.change(CONNECTED)
        self._silent.clear()
        return reply.first_id, reply.at

    def _announce(self, epoch: bytes, tail: int) -> None:
        """Hear of the others: who knows of them knows what is safe without Redis.  Never raises: ids were given."""
        try:
            self._membership.announce(epoch, tail)
        except (CoordinationError, StorageError) as exc:
            logger.info("not announced, will try again: %s", exc)
            self._membership.make_due()

    def _overcome(self, reply: Refused, end: LogEnd, waited_seconds: float, keyed: KeyedPublish | None) -> None:
        """Do what has stood between this root and its ids for so long, or raise."""
        if reply.reason == "behind":
            tail = end.tail
            self._catch_up(end)
            if end.tail == tail:
                raise ResyncNeededError(tail + 1, self._journal.last_id())
            if keyed is not None:
                keyed.check()
        elif reply.reason == "taken" and keyed is not None:
            settle_taken(int(reply.detail), end, keyed, self._journal, self._catch_up)
        elif reply.reason == "awaiting":
            self._await_roots(waited_seconds)
        elif waited_seconds > FILL_SECONDS and (last_id := self._journal.last_id()) > end.tail:
            raise ResyncNeededError(end.tail + 1, last_id)  # which needs the append lock
        else:
            self._membership.epoch = None
            self._pause(_PAUSE_SECONDS if waited_seconds > _PAUSE_SECONDS else 0.0)

    def _await_roots(self, waited_seconds: float) -> None:
        """Give roots that must say how far they are a moment, once: meanwhile all others wait for the append lock."""
        awaited = self._membership.awaited()
        if awaited and (waited_seconds > AWAIT_SECONDS or self._silent.issuperset(awaited)):
            self._silent.update(awaited)
            hosts = ", ".join(sorted(f"{root_id} on {root.host}" for root_id, root in awaited.items()))
            raise CoordinationError(
                f"the event was not published: Redis has lost something, and the root {hosts} has not said yet how far "
                "its log goes; start a worker there, or, if it is gone for good, forget it: eventy-sync forget-root"
            )
        self._pause(_PAUSE_SECONDS if awaited else 0.0)


def _what_became_of_it(is_unknown: bool) -> str:
    return "whether the event was published is unknown" if is_unknown else "the event was not published"
