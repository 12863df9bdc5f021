"""Results and subscriptions on their way from root to root: a bounded stream beside the journal.

Each root tells what its outbox holds and applies what others have told, in the stream's order; how far it has
come is kept in the transaction that applies it.  Telling or applying something twice does no harm.  Changes are
numbered without a hole, so a root knows when it has missed some: it then asks another root for its whole state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Argument, Link, Script
from eventy_sync.redis.messages import AddResult, CreateSubscriber, Message, RemoveSubscriber, encode
from eventy_sync.storage.state import GROUP, RESULTS, RUNS, SUBSCRIBED, UNSUBSCRIBED, StateStore

LENGTH = 10_000
MARGIN_SECONDS = 600.0
"""Clocks of two hosts may differ by so much before a result is missed."""

_AT_ONCE = 100
_POSITION, _MISSING_SINCE, _APPLIED_AT, _TOLD_EPOCH = "changes", "changes_missing_since", "changes_at", "epoch"
_TELL = Script("tell")
_MESSAGES: dict[str, Callable[[str, str], Message]] = {
    RESULTS: AddResult,
    RUNS: AddResult,
    GROUP: AddResult,
    SUBSCRIBED: CreateSubscriber,
    UNSUBSCRIBED: RemoveSubscriber,
}


class Changes:
    """Thread safe.  All methods raise StorageError, and those that ask Redis RedisUnavailableError."""

    def __init__(self, keys: Keys, link: Link, store: StateStore, root_id: UUID, worker_id: UUID) -> None:
        self._keys, self._link, self._store = keys, link, store
        self._root_id, self._worker_id = str(root_id), str(worker_id)

    # -- telling ---------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Tell what this root has to tell."""
        while changes := self._store.outbox.first(_AT_ONCE):
            arguments: list[Argument] = [LENGTH, self._keys.channel, self._root_id, len(changes)]
            for change in changes:
                arguments += [change.kind, change.body]
            for kind in dict.fromkeys(change.kind for change in changes):
                arguments.append(encode(_MESSAGES[kind](self._worker_id, self._root_id)))
            self._link.run(_TELL, (self._keys.meta, self._keys.changes), arguments)
            self._store.outbox.drop(changes[-1].number)

    def begin(self, epoch: bytes) -> None:
        """In a new epoch, tell of all subscriptions and removed groups again: the server may have lost some."""
        told_epoch = self._store.remembered.get(_TOLD_EPOCH)
        if told_epoch == epoch:
            return
        self._store.subscriptions.tell_all()
        self._store.mirror.tell_removed()
        if told_epoch is not None:
            self._miss_since(_number(self._store.remembered.get(_APPLIED_AT)))
        self._store.remembered.put(_POSITION, b"0")  # numbers may have begun anew
        self._store.remembered.put(_TOLD_EPOCH, epoch)

    # -- applying --------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Make the changes of other roots here."""
        position = _number(self._store.remembered.get(_POSITION))
        page = self._page_after(position)
        if not page and position > self._newest():  # the numbers have begun anew
            position, page = 0, self._page_after(0)
        now = b"%d" % (time.time() * 1_000_000)
        while page:
            if _number(page[0][0]) > position + 1:
                self._miss_since(_number(self._store.remembered.get(_APPLIED_AT)))
            position = _number(page[-1][0])
            self._store.apply(self._of_others(page), {_POSITION: b"%d" % position, _APPLIED_AT: now})
            page = self._page_after(position) if len(page) == _AT_ONCE else ()

    def _page_after(self, position: int) -> Any:
        return self._link.command("XRANGE", self._keys.changes, f"{position + 1}-0", "+", "COUNT", _AT_ONCE)

    def _newest(self) -> int:
        newest = self._link.command("XREVRANGE", self._keys.changes, "+", "-", "COUNT", 1)
        return _number(newest[0][0]) if newest else 0

    def _of_others(self, page: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[tuple[str, bytes]]:
        found = []
        for _, values in page:
            fields = dict(zip(values[::2], values[1::2], strict=True))
            if fields.get(b"r") != self._root_id.encode():
                found.append((fields.get(b"k", b"").decode(errors="replace"), fields.get(b"b", b"")))
        return found

    # -- what was missed ---------------------------------------------------------------------------------------

    def _miss_since(self, at: int) -> None:
        before = self.missing_since()
        since = max(0, at - int(MARGIN_SECONDS * 1_000_000))
        self._store.remembered.put(_MISSING_SINCE, b"%d" % (since if before is None else min(before, since)))

    def missing_since(self) -> int | None:
        """Return the time in microseconds from which on changes were missed, or None."""
        kept = self._store.remembered.get(_MISSING_SINCE)
        return None if not kept else _number(kept)

    def take(self, kind: str, body: bytes) -> None:
        """Make a part of another root's state here."""
        self._store.apply([(kind, body)], {})

    def miss_no_more(self) -> None:
        """Forget that something was missed: another root has told all, or nobody can."""
        self._store.remembered.put(_MISSING_SINCE, b"")


def _number(value: bytes | None) -> int:
    """Return a number that was remembered, or that begins a stream's id; 0 for None."""
    return int((value or b"0").partition(b"-")[0])
