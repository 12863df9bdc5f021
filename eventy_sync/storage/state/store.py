"""The state store of one root: its tables over one connection."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from eventy_sync.storage.state.claims import ClaimTable
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.group_changes import GROUP, apply_encoded, encode_change
from eventy_sync.storage.state.group_mirror import GroupMirror
from eventy_sync.storage.state.groups import GroupTable
from eventy_sync.storage.state.keys import KeyTable
from eventy_sync.storage.state.leases import LeaseTable
from eventy_sync.storage.state.outbox import RESULTS, RUNS, STALE_RESULTS, STALE_RUNS, SUBSCRIBED, UNSUBSCRIBED, Outbox
from eventy_sync.storage.state.remembered import RememberedTable
from eventy_sync.storage.state.result_rows import apply_results, apply_runs
from eventy_sync.storage.state.results import ResultTable
from eventy_sync.storage.state.subscriptions import SubscriptionTable, apply_subscription

logger = logging.getLogger(__name__)

_FORGOTTEN_AT_RESET = (
    "results",
    "result_runs",
    "subscriptions",
    "leases",
    "waiting",
    "dead_letters",
    "finished",
)


class StateStore:
    """Opens its file when it is first used: a process that only publishes never does.  Thread safe.

    `sync_every_commit` makes each change survive a power cut, at the price of a sync each; `tells_others`
    keeps changes in the outbox until they were sent to other roots.
    """

    def __init__(self, path: Path, *, sync_every_commit: bool = False, tells_others: bool = False) -> None:
        self._connection = Connection(path, sync_every_commit=sync_every_commit)
        self.outbox = Outbox(self._connection, is_open=tells_others)
        self.results = ResultTable(self._connection, self.outbox)
        self.claims = ClaimTable(self._connection)
        self.leases = LeaseTable(self._connection, self.outbox, self.results.stored)
        self.groups = GroupTable(self._connection)
        self.mirror = GroupMirror(self._connection, self.outbox)
        self.subscriptions = SubscriptionTable(self._connection, self.outbox)
        self.keys = KeyTable(self._connection)
        self.remembered = RememberedTable(self._connection)
        self.before_fork = self._connection.before_fork
        self.after_fork_in_parent = self._connection.after_fork_in_parent
        self.after_fork_in_child = self._connection.after_fork_in_child

    def changes_since(self, created_at: int) -> Iterator[tuple[str, bytes]]:
        """Yield all subscriptions and groups, and the results from this time on, in microseconds; see `apply`."""
        yield from self.subscriptions.changes()
        yield from self.results.changes_since(created_at)
        for change in self.mirror.changes():
            yield GROUP, encode_change(change)

    def apply(self, changes: Iterable[tuple[str, bytes]], remember: Mapping[str, bytes]) -> None:
        """Make changes of other roots here, and remember how far that is, all in one transaction.

        What is here already is passed over, and so is what cannot be read.
        """
        with self._connection.transaction() as database:
            for kind, body in changes:
                try:
                    if kind in (RESULTS, STALE_RESULTS):
                        apply_results(database, body, stale=kind == STALE_RESULTS)
                    elif kind in (RUNS, STALE_RUNS):
                        apply_runs(database, body, stale=kind == STALE_RUNS)
                    elif kind == GROUP:
                        apply_encoded(database, body)
                    elif kind in (SUBSCRIBED, UNSUBSCRIBED):
                        apply_subscription(database, kind, body)
                except (msgspec.MsgspecError, ValueError) as exc:
                    logger.warning("a change of another root passed over: kind=%.20r error=%.100s", kind, exc)
            database.executemany("INSERT OR REPLACE INTO remembered VALUES (?, ?)", remember.items())
        self.results.stored.ring()

    def clear(self, next_id: int) -> None:
        """Forget results and subscriptions, and what groups have not finished: they go on from the event `next_id`."""
        with self._connection.transaction() as database:
            for table in _FORGOTTEN_AT_RESET:
                database.execute(f"DELETE FROM {table}")
            database.execute("UPDATE groups SET next_id = ?", (next_id,))
            if next_id > 1:
                database.execute("INSERT INTO finished SELECT name, 1, ? FROM groups", (next_id - 1,))
            database.execute("UPDATE counters SET value = 0 WHERE name = 'results'")
            database.execute("UPDATE counters SET value = value + 1 WHERE name = 'subscriptions_version'")

    def close(self) -> None:
        """Close the file; using the store afterwards raises QueueClosedError.  May be called twice."""
        self._connection.close()
