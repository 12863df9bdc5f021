"""Stored subscriptions: what every worker of the queue runs if it knows the class."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from eventy_sync.errors import SubscriptionNotFoundError
from eventy_sync.models import Page
from eventy_sync.paging import check_limit, encode_page_id
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.filters import (
    Key,
    Microseconds,
    Whole,
    from_microseconds,
    page_key,
    page_of,
    to_microseconds,
    uuid_bytes,
)
from eventy_sync.storage.state.outbox import SUBSCRIBED, UNSUBSCRIBED, Outbox

_COLUMNS = "id, type_name, body, from_index, explicit_start, created_at, worker_id"
_INSERT = f"INSERT INTO subscriptions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
_CHANGED = "UPDATE counters SET value = value + 1 WHERE name = 'subscriptions_version'"
_REMEMBER_REMOVED = "INSERT OR IGNORE INTO removed_subscriptions VALUES (?)"
_KIND = "subscriptions"
_Row = tuple[Key, str, bytes, Whole, Whole, Microseconds, Key]


@dataclass(frozen=True, slots=True)
class StoredSubscription:
    """A subscriber as it is stored: its class's name and its fields as JSON.

    `explicit_start` says that `from_index` was asked for, rather than being the present of that moment.
    """

    id: UUID
    type_name: str
    body: bytes
    from_index: int
    explicit_start: bool
    created_at: datetime
    worker_id: UUID


class SubscriptionTable:
    """Thread safe.  All methods raise StorageError when SQLite refuses."""

    def __init__(self, connection: Connection, outbox: Outbox) -> None:
        self._connection, self._outbox = connection, outbox

    def add(self, stored: StoredSubscription) -> None:
        """Keep one."""
        with self._connection.transaction() as database:
            self._insert(database, stored)

    def add_unique(self, stored: StoredSubscription) -> StoredSubscription:
        """Keep one unless an equal subscriber is there already; return the one that is there then."""
        statement = f"SELECT {_COLUMNS} FROM subscriptions WHERE type_name = ? AND body = ? ORDER BY id LIMIT 1"
        with self._connection.transaction() as database:
            known = database.execute(statement, (stored.type_name, stored.body)).fetchone()
            if known is not None:
                return _from_row(known)
            self._insert(database, stored)
        return stored

    def _insert(self, database: sqlite3.Connection, stored: StoredSubscription) -> None:
        row = _to_row(stored)
        database.execute(_INSERT, row)
        database.execute(_CHANGED)
        self._outbox.put(database, SUBSCRIBED, msgspec.json.encode(row))

    def changes(self) -> list[tuple[str, bytes]]:
        """Return what makes these subscriptions out of any others: kinds and bodies of changes."""
        there = self._connection.rows(f"SELECT {_COLUMNS} FROM subscriptions ORDER BY id")
        removed = self._connection.rows("SELECT id FROM removed_subscriptions")
        return [(SUBSCRIBED, msgspec.json.encode(row)) for row in there] + [
            (UNSUBSCRIBED, msgspec.json.encode(key)) for (key,) in removed
        ]

    def tell_all(self) -> None:
        """Put every subscription into the outbox: others may have lost what they were told."""
        changes = self.changes()
        with self._connection.transaction() as database:
            for kind, body in changes:
                self._outbox.put(database, kind, body)

    def get(self, subscription_id: UUID) -> StoredSubscription:
        """Return one, or raise SubscriptionNotFoundError."""
        key = uuid_bytes(subscription_id, "a subscription id")
        rows = self._connection.rows(f"SELECT {_COLUMNS} FROM subscriptions WHERE id = ?", (key,))
        if not rows:
            raise SubscriptionNotFoundError(f"there is no subscription {subscription_id}")
        return _from_row(rows[0])

    def remove(self, subscription_id: UUID) -> bool:
        """Forget one; False if it is not there."""
        key = uuid_bytes(subscription_id, "a subscription id")
        with self._connection.transaction() as database:
            removed = database.execute("DELETE FROM subscriptions WHERE id = ?", (key,)).rowcount > 0
            if removed:
                database.execute(_CHANGED)
                if self._outbox.is_open:
                    database.execute(_REMEMBER_REMOVED, (key,))
                self._outbox.put(database, UNSUBSCRIBED, msgspec.json.encode(key))
        return removed

    def search(self, page_id: str | None = None, limit: int = 100) -> Page[StoredSubscription]:
        """Return a page, oldest first."""
        check_limit(limit)
        statement = f"SELECT {_COLUMNS} FROM subscriptions WHERE id > ? ORDER BY id LIMIT ?"
        rows = self._connection.rows(statement, (self.key_of(page_id), limit + 1))
        return page_of(rows, limit, _KIND, _from_row)

    def key_of(self, page_id: str | None) -> bytes:
        """Return the id, as stored, after which a page begins."""
        return b"" if page_id is None else page_key(_KIND, page_id)

    def page_id_after(self, subscription_id: UUID) -> str:
        """Return the id of the page that begins after this subscription."""
        return encode_page_id(_KIND, subscription_id.hex)

    def all(self) -> Sequence[StoredSubscription]:
        """Return all of them, oldest first."""
        return [_from_row(row) for row in self._connection.rows(f"SELECT {_COLUMNS} FROM subscriptions ORDER BY id")]

    def count(self) -> int:
        """Return how many there are."""
        return int(self._connection.rows("SELECT COUNT(*) FROM subscriptions")[0][0])

    def version(self) -> int:
        """Return a number that grows with every change, by whichever process."""
        return int(self._connection.rows("SELECT value FROM counters WHERE name = 'subscriptions_version'")[0][0])


def apply_subscription(database: sqlite3.Connection, kind: str, body: bytes) -> None:
    """Add or remove a subscription as another root says.

    Raises:
        MsgspecError: it says nothing that could be one.
    """
    if kind == SUBSCRIBED:
        row = msgspec.json.decode(body, type=_Row)
        if database.execute("SELECT 1 FROM removed_subscriptions WHERE id = ?", (row[0],)).fetchone():
            return  # somebody tells of it who has not heard yet
        changed = database.execute(_INSERT.replace("INSERT", "INSERT OR IGNORE", 1), row).rowcount
    else:
        key = msgspec.json.decode(body, type=Key)
        database.execute(_REMEMBER_REMOVED, (key,))
        changed = database.execute("DELETE FROM subscriptions WHERE id = ?", (key,)).rowcount
    if changed:
        database.execute(_CHANGED)


def _to_row(stored: StoredSubscription) -> tuple[Any, ...]:
    return (
        stored.id.bytes,
        stored.type_name,
        stored.body,
        stored.from_index,
        int(stored.explicit_start),
        to_microseconds(stored.created_at),
        stored.worker_id.bytes,
    )


def _from_row(row: tuple[Any, ...]) -> StoredSubscription:
    key, type_name, body, from_index, explicit_start, created_at, worker_id = row
    return StoredSubscription(
        id=UUID(bytes=key),
        type_name=type_name,
        body=body,
        from_index=from_index,
        explicit_start=bool(explicit_start),
        created_at=from_microseconds(created_at),
        worker_id=UUID(bytes=worker_id),
    )
