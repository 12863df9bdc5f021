"""The outbox: what this root has to tell the others of results and subscriptions.

A row is written in the transaction of the change itself, and dropped once it was sent; so nothing is
forgotten while the others cannot be reached, and something may be sent twice.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from eventy_sync.storage.state.connection import Connection

RESULTS, RUNS, SUBSCRIBED, UNSUBSCRIBED = "results", "runs", "subscribed", "unsubscribed"
STALE = "stale_"
STALE_RESULTS, STALE_RUNS = STALE + RESULTS, STALE + RUNS
"""Results under a token that was overtaken: only who has told of them could know that, and marks the whole change."""


class Change(NamedTuple):
    """One change of a kind, `body` its JSON."""

    number: int
    kind: str
    body: bytes


class Outbox:
    """Thread safe.  Keeps nothing unless `is_open`: a root that is alone has nobody to tell."""

    def __init__(self, connection: Connection, *, is_open: bool) -> None:
        self._connection, self.is_open = connection, is_open
        self.may_have = is_open
        """Whether this process has put something in since it last looked: a cheap hint."""

    def put(self, database: sqlite3.Connection, kind: str, body: bytes) -> None:
        """Keep a change, as a part of the transaction that makes it."""
        if self.is_open:
            self.may_have = True
            database.execute("INSERT INTO outbox (kind, body) VALUES (?, ?)", (kind, body))

    def first(self, limit: int) -> list[Change]:
        """Return the oldest changes that were not sent yet."""
        self.may_have = False  # first: what is put in meanwhile sets it again
        rows = self._connection.rows("SELECT number, kind, body FROM outbox ORDER BY number LIMIT ?", (limit,))
        self.may_have = self.may_have or bool(rows)
        return [Change(*row) for row in rows]

    def drop(self, number: int) -> None:
        """Forget the changes up to this one: they were sent."""
        with self._connection.transaction() as database:
            database.execute("DELETE FROM outbox WHERE number <= ?", (number,))
