"""Results and subscriptions on their way from root to root: a bounded stream beside the journal.

Each root sends what its outbox holds and applies what others have sent, in the stream's order; how far it has
come is kept in the transaction that applies it.  Sending or applying something twice does no harm.
"""

from __future__ import annotations

from uuid import UUID

from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link
from eventy_sync.storage.state import StateStore

LENGTH = 10_000
_AT_ONCE = 100
_POSITION = "changes"
_BEGINNING = b"0-0"


class Changes:
    """Thread safe.  All methods raise RedisUnavailableError and StorageError."""

    def __init__(self, keys: Keys, link: Link, store: StateStore, root_id: UUID) -> None:
        self._keys, self._link, self._store, self._root_id = keys, link, store, str(root_id).encode()

    def send(self) -> int:
        """Send what this root has to tell; return how many changes that was."""
        sent = 0
        while changes := self._store.outbox.first(_AT_ONCE):
            for change in changes:
                self._link.command(
                    "XADD", self._keys.changes, "MAXLEN", "~", LENGTH, "*",
                    "r", self._root_id, "k", change.kind, "b", change.body,
                )  # fmt: skip
            self._store.outbox.drop(changes[-1].number)
            sent += len(changes)
        return sent

    def apply(self) -> bool:
        """Make the changes of other roots here; return whether there were any."""
        position = self._store.remembered.get(_POSITION) or _BEGINNING
        if self._has_begun_anew(position):
            position = _BEGINNING
        found = False
        while page := self._link.command("XRANGE", self._keys.changes, b"(" + position, "+", "COUNT", _AT_ONCE):
            changes = []
            for name, values in page:
                position = name
                fields = dict(zip(values[::2], values[1::2], strict=True))
                if fields.get(b"r") != self._root_id:
                    changes.append((fields.get(b"k", b"").decode(errors="replace"), fields.get(b"b", b"")))
            self._store.apply(changes, _POSITION, position)
            found = found or bool(changes)
        return found

    def _has_begun_anew(self, position: bytes) -> bool:
        """Return whether the stream ends before this root's position: the server has lost it meanwhile."""
        newest = self._link.command("XREVRANGE", self._keys.changes, "+", "-", "COUNT", 1)
        return not newest or _order(newest[0][0]) < _order(position)


def _order(position: bytes) -> tuple[int, int]:
    milliseconds, _, number = position.partition(b"-")
    return int(milliseconds), int(number)
