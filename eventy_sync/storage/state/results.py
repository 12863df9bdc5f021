"""Results: one row for each run of a subscriber on an event, appended in batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from eventy_sync.errors import InvalidArgumentError, ResultNotFoundError
from eventy_sync.identifiers import floor_id, milliseconds
from eventy_sync.models import EventResult, Page
from eventy_sync.paging import check_limit, check_time
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.filters import (
    Key,
    Microseconds,
    Where,
    Whole,
    from_microseconds,
    page_key,
    page_of,
    to_microseconds,
    uuid_bytes,
)
from eventy_sync.storage.state.outbox import RESULTS, Outbox

_COLUMNS = (
    "id, event_id, worker_id, success, details, created_at, subscription_id, group_name, attempt, token, "
    "duration_seconds, stale"
)
_INSERT = f"INSERT INTO results ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_KIND = "results"
_Row = tuple[
    Key, Whole, Key, Whole, str | None, Microseconds, Key | None, str | None, Whole, Whole | None, float, Whole
]
_DELETED_AT_ONCE = 1000
_BATCH = 500
_LARGEST_INT = 2**63 - 1


class ResultTable:
    """Thread safe.  All methods raise StorageError when SQLite refuses."""

    def __init__(self, connection: Connection, outbox: Outbox) -> None:
        self._connection, self._outbox = connection, outbox

    def add_many(self, results: Sequence[EventResult]) -> None:
        """Keep these, in one transaction."""
        rows = [_to_row(result) for result in results]
        with self._connection.transaction() as database:
            database.executemany(_INSERT, rows)
            self._outbox.put(database, RESULTS, msgspec.json.encode(rows))
            database.execute("UPDATE counters SET value = value + ? WHERE name = 'results'", (len(results),))

    def get(self, result_id: UUID) -> EventResult:
        """Return one result, or raise ResultNotFoundError."""
        (result,) = self.batch_get([result_id])
        if result is None:
            raise ResultNotFoundError(f"there is no result {result_id}")
        return result

    def batch_get(self, result_ids: Sequence[UUID]) -> list[EventResult | None]:
        """Return results in the order of their ids, None for what is not there."""
        keys = [uuid_bytes(each, "a result id") for each in result_ids]
        found: dict[bytes, EventResult] = {}
        for start in range(0, len(keys), _BATCH):
            some = keys[start : start + _BATCH]
            marks = ",".join("?" * len(some))
            for row in self._connection.rows(f"SELECT {_COLUMNS} FROM results WHERE id IN ({marks})", some):
                found[row[0]] = _from_row(row)
        return [found.get(key) for key in keys]

    def search(
        self,
        page_id: str | None = None,
        limit: int = 100,
        event_id__eq: int | None = None,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> Page[EventResult]:
        """Return a page of the results that fit, oldest first."""
        check_limit(limit)
        where = _where(event_id__eq, worker_id__eq, created_at__gte, created_at__lte)
        if page_id is not None:
            where.add("id > ?", page_key(_KIND, page_id))
        statement = f"SELECT {_COLUMNS} FROM results {where} ORDER BY id LIMIT ?"
        return page_of(self._connection.rows(statement, [*where.parameters, limit + 1]), limit, _KIND, _from_row)

    def count(
        self,
        event_id__eq: int | None = None,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> int:
        """Return how many results fit.  Without a filter this costs the same however many there are."""
        where = _where(event_id__eq, worker_id__eq, created_at__gte, created_at__lte)
        if not where.parameters:
            return int(self._connection.rows("SELECT value FROM counters WHERE name = 'results'")[0][0])
        return int(self._connection.rows(f"SELECT COUNT(*) FROM results {where}", where.parameters)[0][0])

    def changes_since(self, created_at: int) -> Iterator[tuple[str, bytes]]:
        """Yield what tells of the results from this time on, in microseconds: kinds and bodies of changes."""
        after = floor_id(created_at // 1000).bytes
        while rows := self._connection.rows(
            f"SELECT {_COLUMNS} FROM results WHERE id > ? ORDER BY id LIMIT ?", (after, _BATCH)
        ):
            yield RESULTS, msgspec.json.encode(rows)
            after = rows[-1][0]

    def delete_before(self, event_id: int) -> int:
        """Forget the results of events before this one, and return how many; others may work in between."""
        deleted = 0
        while True:
            with self._connection.transaction() as database:
                count = database.execute(
                    "DELETE FROM results WHERE id IN (SELECT id FROM results WHERE event_id < ? LIMIT ?)",
                    (event_id, _DELETED_AT_ONCE),
                ).rowcount
                database.execute("UPDATE counters SET value = value - ? WHERE name = 'results'", (count,))
            deleted += count
            if count < _DELETED_AT_ONCE:
                return deleted


def apply_results(database: sqlite3.Connection, body: bytes) -> None:
    """Keep what another root says of its results.

    Raises:
        MsgspecError: it says nothing that could be one.
    """
    rows = msgspec.json.decode(body, type=list[_Row])
    before = database.total_changes
    database.executemany(_INSERT.replace("INSERT", "INSERT OR IGNORE", 1), rows)
    added = database.total_changes - before
    database.execute("UPDATE counters SET value = value + ? WHERE name = 'results'", (added,))


def _where(event_id: int | None, worker_id: UUID | None, earliest: datetime | None, latest: datetime | None) -> Where:
    where = Where()
    if event_id is not None:
        if not isinstance(event_id, int) or not 0 <= event_id <= _LARGEST_INT:
            raise InvalidArgumentError(f"event_id__eq must be an event id, not {event_id!r:.50}")
        where.add("event_id = ?", event_id)
    if worker_id is not None:
        where.add("worker_id = ?", uuid_bytes(worker_id, "worker_id__eq"))
    if check_time(earliest) is not None and earliest is not None:
        where.add("id >= ? AND created_at >= ?", floor_id(milliseconds(earliest)).bytes, to_microseconds(earliest))
    if check_time(latest) is not None and latest is not None:
        where.add("id < ? AND created_at <= ?", floor_id(milliseconds(latest) + 1).bytes, to_microseconds(latest))
    return where


def _to_row(result: EventResult) -> tuple[Any, ...]:
    subscription = result.subscription_id
    return (
        result.id.bytes,
        result.event_id,
        result.worker_id.bytes,
        int(result.success),
        result.details,
        to_microseconds(result.created_at),
        None if subscription is None else subscription.bytes,
        result.group,
        result.attempt,
        result.token,
        result.duration_seconds,
        int(result.stale),
    )


def _from_row(row: tuple[Any, ...]) -> EventResult:
    return EventResult(
        id=UUID(bytes=row[0]),
        event_id=row[1],
        worker_id=UUID(bytes=row[2]),
        success=bool(row[3]),
        details=row[4],
        created_at=from_microseconds(row[5]),
        subscription_id=None if row[6] is None else UUID(bytes=row[6]),
        group=row[7],
        attempt=row[8],
        token=row[9],
        duration_seconds=row[10],
        stale=bool(row[11]),
    )
