"""Results as rows, and the one way in which they get into the tables: each once, counted, and told to other roots."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from eventy_sync.models import EventResult
from eventy_sync.storage.state.filters import Key, Microseconds, Whole, from_microseconds, to_microseconds
from eventy_sync.storage.state.outbox import RESULTS, RUNS, Outbox
from eventy_sync.storage.state.result_runs import ResultRun

COLUMNS = (
    "id, event_id, worker_id, success, details, created_at, subscription_id, group_name, attempt, token, "
    "duration_seconds, stale"
)
RUN_COLUMNS = (
    "base_id, first_event_id, worker_id, group_name, subscription_id, attempt, token, created_at, stale, times"
)
_INSERT = f"INSERT OR IGNORE INTO results ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_RUN = (
    f"INSERT OR IGNORE INTO result_runs ({RUN_COLUMNS}, count, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_Row = tuple[
    Key, Whole, Key, Whole, str | None, Microseconds, Key | None, str | None, Whole, Whole | None, float, Whole
]
_decode_rows = msgspec.json.Decoder(list[_Row]).decode
_decode_runs = msgspec.json.Decoder(list[ResultRun]).decode


def insert_results(
    database: sqlite3.Connection,
    outbox: Outbox | None,
    results: Sequence[EventResult],
    runs: Sequence[ResultRun] = (),
) -> None:
    """Keep these, as a part of a transaction; what is there already stays as it is.

    They are put into the outbox; without one nobody is told, because others know of them already.  After the
    transaction ring `ResultTable.stored`.
    """
    rows = [to_row(result) for result in results]
    _keep(database, rows, runs)
    if outbox is not None and outbox.is_open:
        if rows:
            outbox.put(database, RESULTS, encode_rows(rows))
        if runs:
            outbox.put(database, RUNS, encode_runs(runs))


def encode_results(results: Iterable[EventResult]) -> bytes:
    """Return the body of a change of the kind `RESULTS`."""
    return encode_rows([to_row(result) for result in results])


def encode_rows(rows: Sequence[Any]) -> bytes:
    """Return the body of a change of the kind `RESULTS`."""
    return msgspec.json.encode(rows)


def encode_runs(runs: Sequence[ResultRun]) -> bytes:
    """Return the body of a change of the kind `RUNS`."""
    return msgspec.json.encode(runs)


def apply_results(database: sqlite3.Connection, body: bytes, *, stale: bool = False) -> None:
    """Keep what another root says of its results, all of them as stale ones if they are.

    Raises:
        MsgspecError: it says nothing that could be one.
    """
    rows = _decode_rows(body)
    _keep(database, [(*row[:-1], 1) for row in rows] if stale else rows, ())


def apply_runs(database: sqlite3.Connection, body: bytes, *, stale: bool = False) -> None:
    """Keep what another root says of its runs of results, all of them as stale ones if they are.

    Raises:
        MsgspecError, ValueError: it says nothing that could be one.
    """
    runs = _decode_runs(body)
    for run in runs:
        run.check()
    _keep(database, (), [msgspec.structs.replace(run, stale=True) for run in runs] if stale else runs)


def _keep(database: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], runs: Sequence[ResultRun]) -> None:
    before = database.total_changes
    database.executemany(_INSERT, rows)
    added = database.total_changes - before
    for run in runs:
        added += run.count * database.execute(_INSERT_RUN, _to_run_row(run)).rowcount
    database.execute("UPDATE counters SET value = value + ? WHERE name = 'results'", (added,))


def to_row(result: EventResult) -> tuple[Any, ...]:
    """Return a result as it is stored."""
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


def from_row(row: tuple[Any, ...]) -> EventResult:
    """Return a stored result, from its `COLUMNS`."""
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


def _to_run_row(run: ResultRun) -> tuple[Any, ...]:
    subscription = run.subscription_id
    return (
        run.base_id.bytes,
        run.first_event_id,
        run.worker_id.bytes,
        run.group,
        None if subscription is None else subscription.bytes,
        run.attempt,
        run.token,
        run.created_at_us,
        int(run.stale),
        run.times,
        run.count,
        run.last_us(),
    )


def from_run_row(row: tuple[Any, ...]) -> ResultRun:
    """Return a stored run, from its `RUN_COLUMNS`."""
    return ResultRun(
        base_id=UUID(bytes=row[0]),
        first_event_id=row[1],
        worker_id=UUID(bytes=row[2]),
        group=row[3],
        subscription_id=None if row[4] is None else UUID(bytes=row[4]),
        attempt=row[5],
        token=row[6],
        created_at_us=row[7],
        stale=bool(row[8]),
        times=row[9],
    )
