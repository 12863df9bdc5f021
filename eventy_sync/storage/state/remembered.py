"""What a root must still know when it cannot ask: small values by name."""

from __future__ import annotations

from eventy_sync.storage.state.connection import Connection


class RememberedTable:
    """Thread safe.  All methods raise StorageError when SQLite refuses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> bytes | None:
        """Return a value, or None."""
        rows = self._connection.rows("SELECT value FROM remembered WHERE name = ?", (name,))
        return bytes(rows[0][0]) if rows else None

    def put(self, name: str, value: bytes) -> None:
        """Remember a value in place of the one before."""
        with self._connection.transaction() as database:
            database.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?)", (name, value))
