"""Which event has which key: an index over the log, which alone is the truth (see the log's `keyed` module)."""

from __future__ import annotations

from collections.abc import Sequence

from eventy_sync.storage.log import KeyEntry
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.filters import LATEST_MICROSECONDS


class KeyTable:
    """A `KeyBook`.  Thread safe.  All methods raise StorageError when SQLite refuses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, key: str, now: int) -> int | None:
        """Return the event that has the key now, None if none has."""
        statement = "SELECT event_id FROM event_keys WHERE key = ? AND expires_at > ?"
        rows = self._connection.rows(statement, (key, now))
        return rows[0][0] if rows else None

    def note(self, entries: Sequence[KeyEntry], now: int) -> None:
        """Let keys belong to these events, in place of others, and forget what has expired."""
        rows = [(each.key, each.event_id, min(each.expires_at, LATEST_MICROSECONDS)) for each in entries]
        with self._connection.transaction() as database:
            database.execute("DELETE FROM event_keys WHERE expires_at <= ?", (now,))
            database.executemany("INSERT OR REPLACE INTO event_keys VALUES (?, ?, ?)", rows)
