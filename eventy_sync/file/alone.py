"""A root without a server: alone with its ids and claims, unless it has joined other roots.

An event that is numbered here then would have an id that another root gives to another event; a claim that is
granted here would have another holder there.  So both are refused, and the error names the way out; reading goes
on.  A root that joins while others have it open as a file queue is noticed, too: before the next event, because
joining starts a new segment, and before the next claim, because ``queue.json`` is another file then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from eventy_sync.errors import CoordinationError, StorageError
from eventy_sync.file.identity import IDENTITY_FILE, QueueIdentity, read_identity
from eventy_sync.models import Claim
from eventy_sync.storage.log import KeyedPublish, LocalNumbering, LogEnd
from eventy_sync.storage.state import ClaimTable, GroupTable, LeaseTable, Settlement, Taken, Want


class Alone:
    """Whether a root is alone.  Thread safe."""

    def __init__(self, root: Path, identity: QueueIdentity) -> None:
        self._root, self.joined = root, identity.joined
        self._looked_at: tuple[int, int] | None = None

    def look(self) -> None:
        """Learn whether the root has joined others meanwhile."""
        try:
            self.joined = read_identity(self._root).joined
        except StorageError:
            return  # taken away or damaged: whoever appends or opens next says so

    def look_if_changed(self) -> None:
        """Do so only if ``queue.json`` is another file now."""
        try:
            status = os.stat(self._root / IDENTITY_FILE)
        except OSError:
            return
        if (found := (status.st_ino, status.st_mtime_ns)) != self._looked_at:
            self.look()
            self._looked_at = found

    def check(self, what_not: str) -> None:
        """Raise CoordinationError, saying what was not done, if the root has joined others by now."""
        self.look_if_changed()
        if self.joined is not None:
            self.refuse(what_not)

    def refuse(self, what_not: str) -> NoReturn:
        """Raise CoordinationError: it has joined others."""
        raise CoordinationError(str(self.why_not(what_not)))

    def why_not(self, what: str) -> str | None:
        """Return why this was not done, and the way out; None if it may be done."""
        if (joined := self.joined) is None:
            return None
        prefix = "" if joined.prefix == "eventy" else f", redis_prefix={joined.prefix!r}"
        return (
            f"{what}: this root belongs to the queue {joined.name!r} that Redis coordinates, and going on without it "
            f"would break the common order; open it as RedisFileEventQueue(…, name={joined.name!r}{prefix}, "
            "redis_url=…), on the command line with --redis-url or EVENTY_REDIS_URL"
        )


class NumberingAlone:
    """A `Numbering`: ids from the log's own tail, as long as the root is alone.

    `number` is replaced rather than asking each time: publishing costs nothing more.
    """

    is_shared = False

    def __init__(self, alone: Alone) -> None:
        self._alone = alone
        self.number: Callable[[LogEnd, Sequence[bytes]], tuple[int, int]] = LocalNumbering().number

    def number_keyed(self, end: LogEnd, keyed: KeyedPublish) -> tuple[int, int]:
        """See `Numbering.number_keyed`: what has the key can be told by a root that has joined others, too."""
        keyed.check()
        return self.number(end, ())

    def look_again(self) -> None:
        """Learn whether the root has joined others; called whenever a segment is opened for appending."""
        self._alone.look()
        if self._alone.joined is not None:
            self.number = self._refuse

    def _refuse(self, end: LogEnd, payload_fields: Sequence[bytes]) -> NoReturn:
        self._alone.refuse("the event was not published")


class ClaimsAlone:
    """A `ClaimAuthority`: the root's own claims, none granted once it has joined others."""

    def __init__(self, alone: Alone, table: ClaimTable) -> None:
        self._alone, self._table = alone, table
        self.renew, self.release, self.clear = table.renew, table.release, table.clear
        self.get, self.batch_get, self.search, self.count = table.get, table.batch_get, table.search, table.count

    def create(self, claim_id: str, worker_id: UUID, data: Any, ttl_seconds: float) -> Claim | None:
        """See `ClaimAuthority.create`.

        Raises:
            CoordinationError: the root has joined others.
        """
        self._alone.check("the claim was not taken")
        return self._table.create(claim_id, worker_id, data, ttl_seconds)


class LeasesAlone:
    """A `LeaseAuthority`: the groups of the state store, which hand nothing out once the root has joined others."""

    def __init__(self, alone: Alone, table: LeaseTable, groups: GroupTable) -> None:
        self._alone, self._table, self._groups = alone, table, groups
        self.begin, self.renew = table.begin, table.renew
        self.info, self.is_finished, self.oldest_unfinished = groups.info, groups.is_finished, groups.oldest_unfinished
        self.pause, self.dead_letters, self.requeue = groups.pause, groups.dead_letters, groups.requeue

    def remove(self, group: str) -> None:
        """See `LeaseAuthority.remove`.

        Raises:
            CoordinationError: the root has joined others.
        """
        self._alone.check("the group was not removed")
        self._table.remove(group)

    def forget_unfinished(self) -> None:
        """See `LeaseAuthority.forget_unfinished`: what the state store does not know is not handed out."""

    def exchange(self, group: str, worker_id: UUID, settlement: Settlement | None, want: Want | None) -> Taken:
        """See `LeaseAuthority.exchange`.

        Raises:
            CoordinationError: the root has joined others.
        """
        if want is not None:
            self._alone.check("the group's events were not handed out")
        return self._table.exchange(group, worker_id, settlement, want)
