"""Finding results: rows and runs together, in the order of their ids, at the cost of what is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from operator import attrgetter
from uuid import UUID

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.identifiers import floor_id
from eventy_sync.models import EventResult
from eventy_sync.paging import check_time
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.filters import LATEST_MICROSECONDS, Where, to_microseconds, uuid_bytes
from eventy_sync.storage.state.result_rows import COLUMNS, RUN_COLUMNS, from_row, from_run_row
from eventy_sync.storage.state.result_runs import MAX_RUN, MAX_SPAN_SECONDS, ResultRun

_LARGEST_INT = 2**63 - 1
_FIRST_PORTION, _LARGEST_PORTION = 4, 128


@dataclass(frozen=True, slots=True)
class Filters:
    """Which results are asked for, checked; times in microseconds since 1970, UTC."""

    event_id: int | None = None
    worker_id: bytes | None = None
    earliest: int | None = None
    latest: int | None = None
    success: bool | None = None
    group: str | None = None
    no_stale: bool = False

    @property
    def has_times(self) -> bool:
        """Whether results are told apart by their times."""
        return self.earliest is not None or self.latest is not None

    def where(self) -> Where:
        """Return the condition for rows of the table `results`."""
        where = self._where()
        if self.event_id is not None:
            where.add("event_id = ?", self.event_id)
        if self.success is not None:
            where.add(f"success = {int(self.success)}")  # as it stands, so that the index for failures fits
        if self.earliest is not None:
            where.add("id >= ? AND created_at >= ?", _floor(self.earliest), self.earliest)
        if self.latest is not None:
            where.add("id < ? AND created_at <= ?", _floor(self.latest, 1), self.latest)
        return where

    def where_runs(self) -> Where:
        """Return the condition for runs that may have some."""
        where = self._where()
        if self.event_id is not None:
            where.add("first_event_id BETWEEN ? AND ?", self.event_id - MAX_RUN + 1, self.event_id)
            where.add("first_event_id + count > ?", self.event_id)
        if self.earliest is not None:
            where.add("base_id >= ? AND last_at >= ?", _floor(self.earliest), self.earliest)
        if self.latest is not None:
            end = _floor(self.latest, MAX_SPAN_SECONDS * 1000 + 1)
            where.add("base_id < ? AND created_at <= ?", end, self.latest)
        return where

    def _where(self) -> Where:
        where = Where()
        if self.worker_id is not None:
            where.add("worker_id = ?", self.worker_id)
        if self.group is not None:
            where.add("group_name = ?", self.group)
        if self.no_stale:
            where.add("stale = 0")
        return where

    def rows_table(self) -> str:
        """Return the table `results` with the index that leads to the fewest."""
        if self.event_id is not None:
            return "results INDEXED BY results_by_event"
        return "results INDEXED BY results_failed" if self.success is False else "results"

    def runs_table(self) -> str:
        """Return the table `result_runs` with the index that leads to the fewest."""
        return "result_runs" if self.event_id is None else "result_runs INDEXED BY result_runs_by_event"

    def positions(self, run: ResultRun) -> Iterator[int]:
        """Return where in a run are those that fit, if the run does."""
        positions = range(run.count)
        if self.event_id is not None:
            start = self.event_id - run.first_event_id
            positions = positions[start : start + 1] if start >= 0 else range(0)
        if not self.has_times:
            return iter(positions)
        return (each for each in positions if self._is_in_time(run.end_us(each)))

    def _is_in_time(self, at: int) -> bool:
        return (self.earliest is None or self.earliest <= at) and (self.latest is None or at <= self.latest)


def check_filters(
    event_id: int | None,
    worker_id: UUID | None,
    earliest: datetime | None,
    latest: datetime | None,
    success: bool | None,
    group: str | None,
) -> Filters:
    """Return the filters of a search.

    Raises:
        InvalidArgumentError: one of them cannot be.
    """
    if event_id is not None and (not isinstance(event_id, int) or not 0 <= event_id <= _LARGEST_INT):
        raise InvalidArgumentError(f"event_id__eq must be an event id, not {event_id!r:.50}")
    if success is not None and not isinstance(success, bool):
        raise InvalidArgumentError(f"success__eq must be True or False, not {success!r:.50}")
    if group is not None and not isinstance(group, str):
        raise InvalidArgumentError(f"group__eq must be a group's name, not {group!r:.50}")
    return Filters(
        event_id,
        None if worker_id is None else uuid_bytes(worker_id, "worker_id__eq"),
        _microseconds(earliest),
        _microseconds(latest),
        success,
        group,
    )


def find_results(connection: Connection, filters: Filters, after: bytes | None, limit: int) -> list[EventResult]:
    """Return so many results behind this id, by id."""
    where = filters.where()
    if after is not None:
        where.add("id > ?", after)
    statement = f"SELECT {COLUMNS} FROM {filters.rows_table()} {where} ORDER BY id LIMIT ?"
    single = [from_row(row) for row in connection.rows(statement, [*where.parameters, limit])]
    if filters.success is False:
        return single
    in_runs = _results_in_runs(connection, filters, -1 if after is None else int.from_bytes(after, "big"))
    return list(islice(merge(single, in_runs, key=attrgetter("id")), limit))


def count_results(connection: Connection, filters: Filters) -> int:
    """Return how many results there are."""
    if filters == Filters():
        return int(connection.rows("SELECT value FROM counters WHERE name = 'results'")[0][0])
    if filters == Filters(success=True):
        return count_results(connection, Filters()) - count_results(connection, Filters(success=False))
    where = filters.where()
    found = connection.rows(f"SELECT COUNT(*) FROM {filters.rows_table()} {where}", where.parameters)
    return int(found[0][0]) + (0 if filters.success is False else _count_in_runs(connection, filters))


def _count_in_runs(connection: Connection, filters: Filters) -> int:
    if filters.event_id is not None:
        return _count_one_by_one(connection, filters, filters.where_runs())
    whole, parts = filters.where_runs(), filters.where_runs()
    if filters.has_times:
        all_times = (filters.earliest or 0, LATEST_MICROSECONDS if filters.latest is None else filters.latest)
        whole.add("created_at >= ? AND last_at <= ?", *all_times)
        parts.add("NOT (created_at >= ? AND last_at <= ?)", *all_times)
    statement = f"SELECT COALESCE(SUM(count), 0) FROM {filters.runs_table()} {whole}"
    count = int(connection.rows(statement, whole.parameters)[0][0])
    return count + (_count_one_by_one(connection, filters, parts) if filters.has_times else 0)


def _count_one_by_one(connection: Connection, filters: Filters, where: Where) -> int:
    rows = connection.rows(f"SELECT {RUN_COLUMNS} FROM {filters.runs_table()} {where}", where.parameters)
    return sum(1 for row in rows for _ in filters.positions(from_run_row(row)))


def _results_in_runs(connection: Connection, filters: Filters, after: int) -> Iterator[EventResult]:
    """Yield what fits behind this id, by id: ids of a run are whole numbers in a row, so no two runs interleave."""
    for run in _runs(connection, filters, max(0, after - MAX_RUN + 1)):
        first = after - run.base_id.int + 1
        yield from (run.result(position) for position in filters.positions(run) if position >= first)


def _runs(connection: Connection, filters: Filters, first_id: int) -> Iterator[ResultRun]:
    """Yield the runs from this id on, by their ids; few are read at first, because few may be wanted."""
    start, size = min(first_id, 2**128 - 1).to_bytes(16, "big"), _FIRST_PORTION
    comparison = ">="
    while True:
        where = filters.where_runs()
        where.add(f"base_id {comparison} ?", start)
        statement = f"SELECT {RUN_COLUMNS} FROM {filters.runs_table()} {where} ORDER BY base_id LIMIT ?"
        rows = connection.rows(statement, [*where.parameters, size])
        yield from map(from_run_row, rows)
        if len(rows) < size:
            return
        start, size, comparison = rows[-1][0], min(2 * size, _LARGEST_PORTION), ">"


def _microseconds(at: datetime | None) -> int | None:
    return None if check_time(at) is None or at is None else to_microseconds(at)


def _floor(microseconds: int, later_milliseconds: int = 0) -> bytes:
    return floor_id(microseconds // 1000 + later_milliseconds).bytes
