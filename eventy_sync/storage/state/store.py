"""The state store of one root: its tables over one connection."""

from __future__ import annotations

from pathlib import Path

from eventy_sync.storage.state.claims import ClaimTable
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.remembered import RememberedTable
from eventy_sync.storage.state.results import ResultTable
from eventy_sync.storage.state.subscriptions import SubscriptionTable


class StateStore:
    """Opens its file when it is first used: a process that only publishes never does.  Thread safe.

    `sync_every_commit` makes each change survive a power cut, at the price of a sync each.
    """

    def __init__(self, path: Path, *, sync_every_commit: bool = False) -> None:
        self._connection = Connection(path, sync_every_commit=sync_every_commit)
        self.results = ResultTable(self._connection)
        self.claims = ClaimTable(self._connection)
        self.subscriptions = SubscriptionTable(self._connection)
        self.remembered = RememberedTable(self._connection)
        self.before_fork = self._connection.before_fork
        self.after_fork_in_parent = self._connection.after_fork_in_parent
        self.after_fork_in_child = self._connection.after_fork_in_child

    def data_version(self) -> int:
        """Return a number that changes whenever another connection has changed anything.  Cheap."""
        return int(self._connection.rows("PRAGMA data_version")[0][0])

    def clear(self) -> None:
        """Forget results and subscriptions."""
        with self._connection.transaction() as database:
            for table in ("results", "subscriptions"):
                database.execute(f"DELETE FROM {table}")
            database.execute("UPDATE counters SET value = 0 WHERE name = 'results'")
            database.execute("UPDATE counters SET value = value + 1 WHERE name = 'subscriptions_version'")

    def close(self) -> None:
        """Close the file; using the store afterwards raises QueueClosedError.  May be called twice."""
        self._connection.close()
