"""How long handlers took, in all processes and by group: read from the results when somebody asks, and only then.

The sums are kept in `remembered`, with how far the results are in them, so that each process of the root answers the
same.  They begin when they are first asked for.

Runs are read in the order in which they were stored, so none is left out.  Rows have no such order: they are read by
their ids, which tell when they were made, once they are `SETTLE_SECONDS` old.  One that is stored later than that,
such as a result of a root that was cut off, is left out.
"""

from __future__ import annotations

import struct
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import msgspec

from eventy_sync.identifiers import floor_id
from eventy_sync.storage.state.connection import Connection

BOUNDS_SECONDS = (0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SETTLE_SECONDS = 10.0
READ_SECONDS = 1.0
"""So long results are read at one time; whoever asks next goes on."""

_NAME = "handling_times"
_ROWS_AT_ONCE, _RUNS_AT_ONCE = 1000, 100
_MICROSECONDS = 1_000_000


class HandlingTime(msgspec.Struct):
    """How long one group's handlers took: `counts[i]` results took up to `BOUNDS_SECONDS[i]`, `count` any time."""

    counts: list[int]
    count: int = 0
    sum_seconds: float = 0.0

    def add(self, durations: Sequence[int]) -> None:
        """Take durations in, in microseconds."""
        ordered = sorted(durations)
        for position, bound in enumerate(BOUNDS_SECONDS):
            self.counts[position] += bisect_right(ordered, bound * _MICROSECONDS)
        self.count += len(ordered)
        self.sum_seconds += sum(ordered) / _MICROSECONDS


class _Kept(msgspec.Struct):
    """What is remembered.  Events that no group shares have the empty name."""

    bounds: list[float]
    run: int
    row: bytes
    groups: dict[str, HandlingTime]

    def add(self, group: str | None, durations: Sequence[int]) -> None:
        if (times := self.groups.get(group or "")) is None:
            times = self.groups[group or ""] = HandlingTime([0] * len(BOUNDS_SECONDS))
        times.add(durations)


class HandlingTimes:
    """Thread safe.  All methods raise StorageError when SQLite refuses."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.time) -> None:
        self._connection, self._clock = connection, clock
        self._lock = threading.Lock()

    def read(self) -> dict[str, HandlingTime]:
        """Return the times by group; those of handlers that are in no group under the empty name."""
        with self._lock:
            before = self._load()
            kept = _decoded(before)
            if kept is None:
                kept = _Kept(list(BOUNDS_SECONDS), self._last_run(), self._settled(), {})
            elif not self._go_on(kept):
                return kept.groups
            return self._save(before, kept).groups

    def _load(self) -> bytes | None:
        rows = self._connection.rows("SELECT value FROM remembered WHERE name = ?", (_NAME,))
        return bytes(rows[0][0]) if rows else None

    def _last_run(self) -> int:
        return int(self._connection.rows("SELECT COALESCE(MAX(rowid), 0) FROM result_runs")[0][0])

    def _settled(self) -> bytes:
        return floor_id(int((self._clock() - SETTLE_SECONDS) * 1000)).bytes

    def _go_on(self, kept: _Kept) -> bool:
        """Take in what came since; False if nothing did."""
        deadline = time.monotonic() + READ_SECONDS
        found = False
        if kept.run > self._last_run():  # a reset has begun the table anew
            kept.run = 0
        for _ in chain(self._take_runs(kept), self._take_rows(kept)):
            found = True
            if time.monotonic() > deadline:
                break
        return found

    def _take_runs(self, kept: _Kept) -> Iterator[None]:
        statement = "SELECT rowid, group_name, count, times FROM result_runs WHERE rowid > ? ORDER BY rowid LIMIT ?"
        while rows := self._connection.rows(statement, (kept.run, _RUNS_AT_ONCE)):
            for rowid, group, count, times in rows:
                kept.add(group, struct.unpack_from(f"<{count}I", times, len(times) // 2))
                kept.run = rowid
            yield

    def _take_rows(self, kept: _Kept) -> Iterator[None]:
        statement = "SELECT id, group_name, duration_seconds FROM results WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        settled = self._settled()
        while rows := self._connection.rows(statement, (kept.row, settled, _ROWS_AT_ONCE)):
            for group in {row[1] for row in rows}:
                kept.add(group, [round(row[2] * _MICROSECONDS) for row in rows if row[1] == group])
            kept.row = (int.from_bytes(rows[-1][0], "big") + 1).to_bytes(16, "big")
            yield

    def _save(self, before: bytes | None, kept: _Kept) -> _Kept:
        """Remember this unless another process was faster; return what is remembered then."""
        with self._connection.transaction() as database:
            row = database.execute("SELECT value FROM remembered WHERE name = ?", (_NAME,)).fetchone()
            if (None if row is None else row[0]) == before:
                value = msgspec.json.encode(kept)
                database.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?)", (_NAME, value))
                return kept
        return _decoded(row[0]) or kept


def _decoded(value: bytes | None) -> _Kept | None:
    """Return what is remembered; None if that is nothing that fits."""
    try:
        kept = None if value is None else msgspec.json.decode(value, type=_Kept)
    except msgspec.MsgspecError:
        return None
    return kept if kept is not None and kept.bounds == list(BOUNDS_SECONDS) else None
