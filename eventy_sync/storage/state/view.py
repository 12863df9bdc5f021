"""The state store as it is on disk: only looked at, and never made, upgraded or written to.

SQLite cannot read a file with a write-ahead log without writing beside it, unless others have it open, or nobody has
and it is told so: then it takes no locks.  If somebody opens the file just then, what was read is read again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eventy_sync.errors import QueueFormatError, StorageError
from eventy_sync.storage.state import schema
from eventy_sync.storage.state.claims import ClaimTable
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.groups import GroupTable
from eventy_sync.storage.state.outbox import Outbox
from eventy_sync.storage.state.results import ResultTable
from eventy_sync.storage.state.subscriptions import SubscriptionTable


class StateView:
    """Reads the state store in this file, which must be there.  Close it when done.  Thread safe.

    Only those methods of its tables work that do not write; they raise what they raise otherwise, and QueueFormatError
    for a file that an earlier version has left and no worker has opened since.
    """

    def __init__(self, path: Path) -> None:
        self._connection = _ReadOnlyConnection(path)
        outbox = Outbox(self._connection, is_open=False)
        self.results = ResultTable(self._connection, outbox)
        self.claims = ClaimTable(self._connection)
        self.groups = GroupTable(self._connection)
        self.subscriptions = SubscriptionTable(self._connection, outbox)

    def damage(self) -> str | None:
        """Return what SQLite finds wrong with the file, None if it is whole.  Reads all of it."""
        found = str(self._connection.rows("PRAGMA quick_check(1)")[0][0])
        return None if found == "ok" else found

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class _ReadOnlyConnection(Connection):
    def __init__(self, path: Path) -> None:
        super().__init__(path, sync_every_commit=False)
        self._log = Path(f"{path}-wal")
        self._takes_locks = False

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            found = super().rows(statement, parameters)
        except StorageError:
            if not self._was_opened_meanwhile():
                raise
            return super().rows(statement, parameters)
        return super().rows(statement, parameters) if self._was_opened_meanwhile() else found

    def _was_opened_meanwhile(self) -> bool:
        """Return whether others have opened the file since; the next statement then reads it together with them."""
        with self._lock:
            if self._database is None or self._takes_locks or not self._log.exists():
                return False
            self._database.close()
            self._database = None
            return True

    def _connect(self) -> sqlite3.Connection:
        if not os.path.lexists(self.path):
            raise StorageError(f"there is no {str(self.path)!r}")
        self._takes_locks = self._log.exists()
        database = self._open_file("&mode=ro" if self._takes_locks else "&mode=ro&immutable=1")
        try:
            if (version := self._version(database)) < schema.VERSION:
                raise QueueFormatError(
                    f"{str(self.path)!r} says version {version}, this one reads {schema.VERSION}: it is upgraded when "
                    "the queue is opened, as by eventy-sync info"
                )
        except BaseException:
            database.close()
            raise
        return database
