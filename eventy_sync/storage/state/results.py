"""Results: what came of each run of a subscriber on an event, one row each or many in a row.

Rows are appended in batches; what is read is found by `result_search.py`, as if each result were a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from eventy_sync.errors import ResultNotFoundError
from eventy_sync.identifiers import floor_id
from eventy_sync.models import EventResult, Page
from eventy_sync.paging import check_limit, encode_page_id
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.filters import page_key, uuid_bytes
from eventy_sync.storage.state.outbox import RESULTS, RUNS, Outbox
from eventy_sync.storage.state.result_rows import (
    COLUMNS,
    RUN_COLUMNS,
    encode_rows,
    encode_runs,
    from_row,
    from_run_row,
    insert_results,
)
from eventy_sync.storage.state.result_runs import MAX_RUN, ResultRun
from eventy_sync.storage.state.result_search import check_filters, count_results, find_results
from eventy_sync.waking import Bell

_KIND = "results"
_DELETED_AT_ONCE = 1000
_BATCH, _BATCH_OF_RUNS = 500, 100


class ResultTable:
    """Thread safe.  All methods raise StorageError when SQLite refuses."""

    def __init__(self, connection: Connection, outbox: Outbox) -> None:
        self._connection, self._outbox = connection, outbox
        self.stored = Bell()
        """Rung when this process has stored results, its own or those of another root."""

    def add_many(self, results: Sequence[EventResult]) -> None:
        """Keep these, in one transaction."""
        self.add(results, ())

    def add(self, results: Sequence[EventResult], runs: Sequence[ResultRun]) -> None:
        """Keep these and all that are in the runs, in one transaction."""
        with self._connection.transaction() as database:
            insert_results(database, self._outbox, results, runs)
        self.stored.ring()

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
            for row in self._connection.rows(f"SELECT {COLUMNS} FROM results WHERE id IN ({marks})", some):
                found[row[0]] = from_row(row)
        run: ResultRun | None = None
        for key in sorted(set(keys) - set(found)):  # those of one run follow each other
            number = int.from_bytes(key, "big")
            if run is None or not 0 <= number - run.base_id.int < run.count:
                run = self._run_with(number)
            if run is not None:
                found[key] = run.result(number - run.base_id.int)
        return [found.get(key) for key in keys]

    def _run_with(self, number: int) -> ResultRun | None:
        start = max(0, number - MAX_RUN + 1).to_bytes(16, "big")
        statement = f"SELECT {RUN_COLUMNS} FROM result_runs WHERE base_id BETWEEN ? AND ? ORDER BY base_id DESC"
        runs = map(from_run_row, self._connection.rows(statement, (start, number.to_bytes(16, "big"))))
        return next((run for run in runs if number - run.base_id.int < run.count), None)

    def search(
        self,
        page_id: str | None = None,
        limit: int = 100,
        event_id__eq: int | None = None,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
        success__eq: bool | None = None,
        group__eq: str | None = None,
    ) -> Page[EventResult]:
        """Return a page of the results that fit, oldest first."""
        check_limit(limit)
        filters = check_filters(event_id__eq, worker_id__eq, created_at__gte, created_at__lte, success__eq, group__eq)
        after = None if page_id is None else page_key(_KIND, page_id)
        found = find_results(self._connection, filters, after, limit + 1)
        more = len(found) > limit
        return Page(found[:limit], encode_page_id(_KIND, found[limit - 1].id.hex) if more else None)

    def first_of(self, event_id: int, group: str | None = None) -> EventResult | None:
        """Return the first result of an event, or of this group on it, that is not stale, or None."""
        filters = replace(check_filters(event_id, None, None, None, None, group), no_stale=True)
        found = find_results(self._connection, filters, None, 1)
        return found[0] if found else None

    def version_of_others(self) -> int:
        """Return a number that is another one once another process has changed the file.  Cheap."""
        return int(self._connection.rows("PRAGMA data_version")[0][0])

    def count(
        self,
        event_id__eq: int | None = None,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
        success__eq: bool | None = None,
        group__eq: str | None = None,
    ) -> int:
        """Return how many results fit.  Without a filter this costs the same however many there are."""
        filters = check_filters(event_id__eq, worker_id__eq, created_at__gte, created_at__lte, success__eq, group__eq)
        return count_results(self._connection, filters)

    def totals(self) -> tuple[int, int]:
        """Return how many successes and failures there have ever been, forgotten ones too: both only grow."""
        counters = dict(self._connection.rows("SELECT name, value FROM counters"))
        failures = int(counters["failures_ever"])
        return int(counters["results"]) + int(counters["results_forgotten"]) - failures, failures

    def changes_since(self, created_at: int) -> Iterator[tuple[str, bytes]]:
        """Yield what tells of the results from this time on, in microseconds: kinds and bodies of changes."""
        start = floor_id(created_at // 1000).bytes
        after = start
        while rows := self._connection.rows(
            f"SELECT {COLUMNS} FROM results WHERE id > ? ORDER BY id LIMIT ?", (after, _BATCH)
        ):
            yield RESULTS, encode_rows(rows)
            after = rows[-1][0]
        after = start
        while rows := self._connection.rows(
            f"SELECT {RUN_COLUMNS} FROM result_runs WHERE base_id > ? ORDER BY base_id LIMIT ?", (after, _BATCH_OF_RUNS)
        ):
            yield RUNS, encode_runs([from_run_row(row) for row in rows])
            after = rows[-1][0]

    def delete_before(self, event_id: int) -> int:
        """Forget the results of events before this one, and return how many; others may work in between.

        A run that goes on behind it stays as a whole.
        """
        return self._delete("results", "id", "1", event_id) + self._delete("result_runs", "base_id", "count", event_id)

    def _delete(self, table: str, key: str, count: str, event_id: int) -> int:
        first = "event_id" if table == "results" else "first_event_id"
        select = f"SELECT {key}, {count} FROM {table} WHERE {first} < ?1 AND {first} + {count} <= ?1 LIMIT ?2"
        deleted = 0
        while True:
            with self._connection.transaction() as database:
                rows = database.execute(select, (event_id, _DELETED_AT_ONCE)).fetchall()
                database.executemany(f"DELETE FROM {table} WHERE {key} = ?", [row[:1] for row in rows])
                some = sum(int(row[1]) for row in rows)
                database.execute("UPDATE counters SET value = value - ? WHERE name = 'results'", (some,))
                database.execute("UPDATE counters SET value = value + ? WHERE name = 'results_forgotten'", (some,))
            deleted += some
            if len(rows) < _DELETED_AT_ONCE:
                return deleted
