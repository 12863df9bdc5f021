"""Leases: which worker of a group has which events, as one root's state store knows it.

Every method is one transaction: a worker that dies between two of them leaves leases that run out, nothing else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from math import ceil
from uuid import UUID

import msgspec

from eventy_sync.errors import GroupInUseError
from eventy_sync.identifiers import new_id
from eventy_sync.models import EventResult
from eventy_sync.storage.state.boot_clock import Now, live_parameters, live_term, read_clocks
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.filters import from_microseconds
from eventy_sync.storage.state.group_changes import GROUP, apply_change, encode_change, removal, replace_lease
from eventy_sync.storage.state.group_place import place_of
from eventy_sync.storage.state.group_records import Lease, Settlement, Taken, Want
from eventy_sync.storage.state.groups import unknown_group
from eventy_sync.storage.state.left import MANY, leave, take_left
from eventy_sync.storage.state.outbox import Outbox
from eventy_sync.storage.state.ranges import Range, without
from eventy_sync.storage.state.removed_groups import birth_of
from eventy_sync.storage.state.result_rows import insert_results
from eventy_sync.waking import Bell

RAN_OUT = "the worker died or let its lease run out before it could say what came of it"

_LIVE = live_term("leases")
_LEASE = "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_WAIT = "INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?, ?, ?)"
_DIE = "INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_Row = tuple[int, int, int, int, int]  # first_id, last_id, attempt, token, begun_at


class PlaceChangedError(Exception):
    """The tables are not used as they were; see `group_place.py`.  Stays inside this package and its callers."""


class LeaseTable:
    """Thread safe, exclusive among processes.  All methods raise StorageError when SQLite refuses."""

    def __init__(
        self, connection: Connection, outbox: Outbox, stored: Bell, clocks: Callable[[], Now] = read_clocks
    ) -> None:
        self._connection, self._outbox, self._stored, self._clocks = connection, outbox, stored, clocks

    def begin(self, group: str, from_index: int) -> None:
        """Make the group, with its place before this event; a known group keeps its own."""
        known = self._connection.rows("SELECT 1 FROM groups WHERE name = ?", (group,))
        if not known:
            with self._connection.transaction() as database:
                row = (group, from_index, from_index, birth_of(database, group), 0, self._clocks().wall)
                database.execute("INSERT OR IGNORE INTO groups VALUES (?, ?, ?, ?, ?, ?)", row)

    def remove(self, group: str, place: bytes | None = None) -> None:
        """Forget the group, results apart, unless a worker has events of it; see `LeaseAuthority.remove`.

        Raises:
            PlaceChangedError: a `place` is given, and the tables are used otherwise by now; nothing was done.
        """
        held = f"SELECT COALESCE(SUM(last_id - first_id + 1), 0) FROM leases WHERE group_name = ? AND {_LIVE}"
        with self._connection.transaction() as database:
            if place is not None and place_of(database) != place:
                raise PlaceChangedError("the groups are shared with a server again")
            row = database.execute("SELECT token FROM groups WHERE name = ?", (group,)).fetchone()
            if row is None:
                raise unknown_group(group)
            leased = database.execute(held, (group, *live_parameters(self._clocks()))).fetchone()[0]
            if leased:
                raise GroupInUseError(group, leased)
            change = removal(group, row[0] + 1)
            apply_change(database, change)
            self._outbox.put(database, GROUP, encode_change(change))

    def exchange(
        self, group: str, worker_id: UUID, settlement: Settlement | None, want: Want | None, place: bytes | None = None
    ) -> Taken:
        """Take what came of leases, and give others; see `LeaseAuthority.exchange`.

        Raises:
            PlaceChangedError: a `place` is given, and the tables are used otherwise by now; nothing was done.
        """
        if not settlement and (want is None or not self._has_work(group, want.tail)):
            return Taken([], self._wait_seconds(group))
        with self._connection.transaction() as database:
            if place is not None and place_of(database) != place:
                raise PlaceChangedError("the groups are shared with a server again")
            turn = _Turn(database, self._outbox, group, worker_id, self._clocks())
            if settlement:
                turn.settle(settlement)
            leases = turn.take(want) if want is not None else []
        if settlement:
            self._stored.ring()
        return Taken(leases, None if leases else self._wait_seconds(group))

    def _has_work(self, group: str, tail: int) -> bool:
        """Look without the write lock: most looks of an idle worker find nothing."""
        now = self._clocks()
        statement = (
            "SELECT NOT paused AND (next_id <= ? "
            "OR EXISTS (SELECT 1 FROM waiting WHERE group_name = name AND due_at <= ?) "
            f"OR EXISTS (SELECT 1 FROM leases WHERE group_name = name AND NOT {_LIVE})) FROM groups WHERE name = ?"
        )
        rows = self._connection.rows(statement, (tail, now.wall, *live_parameters(now), group))
        return bool(rows and rows[0][0])

    def _wait_seconds(self, group: str) -> float | None:
        """Return the seconds until an event is due or a lease runs out; None if there are none, or the group pauses."""
        now = self._clocks()
        statement = (
            "SELECT MIN(seconds) FROM (SELECT (MIN(due_at) - ?) / 1e6 AS seconds FROM waiting WHERE group_name = ? "
            "UNION ALL SELECT MIN(CASE WHEN boot_id = ? THEN expires_boot - ? ELSE (expires_at - ?) / 1e6 END) "
            "FROM leases WHERE group_name = ?) WHERE NOT (SELECT paused FROM groups WHERE name = ?)"
        )
        parameters = (now.wall, group, now.boot_id, now.boot_seconds, now.wall, group, group)
        seconds = self._connection.rows(statement, parameters)[0][0]
        return None if seconds is None else max(0.0, seconds)

    def renew(self, group: str, worker_id: UUID, tokens: Sequence[int], lease_seconds: float) -> set[int]:
        """Let these leases last so long from now; return the tokens of those that are held still."""
        now = self._clocks()
        times = (now.wall + int(lease_seconds * 1e6), now.boot_id, now.boot_seconds, now.boot_seconds + lease_seconds)
        held = set()
        with self._connection.transaction() as database:
            for token in tokens:
                renewed = database.execute(
                    "UPDATE leases SET expires_at = ?, boot_id = ?, created_boot = ?, expires_boot = ? "
                    "WHERE group_name = ? AND worker_id = ? AND token = ?",
                    (*times, group, worker_id.bytes, token),
                )
                if renewed.rowcount:
                    held.add(token)
        return held


class _Turn:
    """One worker's turn at one group, inside a transaction."""

    def __init__(self, database: sqlite3.Connection, outbox: Outbox, group: str, worker_id: UUID, now: Now) -> None:
        self._database, self._outbox = database, outbox
        self._group, self._worker_id, self._now = group, worker_id, now

    # -- settling --------------------------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> None:
        """Take what came of leases of this worker; what it holds no more, or has settled before, is passed over."""
        held = self._held(settlement.tokens())
        retries = [each for each in settlement.retries if _holds(held, each.token, each.event_id, each.event_id)]
        deaths = [each for each in settlement.deaths if _holds(held, each.token, each.event_id, each.event_id)]
        returned = [each for each in settlement.returned if _holds(held, each.token, each.first_id, each.last_id)]
        for token, rows in held.items():
            self._shrink(rows, settlement.ranges(token))
        for each in retries:
            begun_at = 0 if each.due_at else _begun_at(held, each.token)
            due_at = each.due_at or self._now.wall + ceil(each.delay_seconds * 1e6)
            self._wait([(each.event_id, each.attempts, due_at, begun_at, each.token)])
        for death in deaths:
            begun_at = _begun_at(held, death.token)
            self._die(death.event_id, death.attempts, death.details, self._worker_id, begun_at, death.token)
        for lease in sorted(returned, reverse=True):
            self._give_back(lease, _begun_at(held, lease.token))
        results = [each if each.token in held else replace(each, stale=True) for each in settlement.results]
        runs = [each if each.token in held else msgspec.structs.replace(each, stale=True) for each in settlement.runs]
        insert_results(self._database, self._outbox, results, runs)

    def _held(self, tokens: set[int]) -> dict[int, list[_Row]]:
        statement = (
            "SELECT first_id, last_id, attempt, token, begun_at FROM leases WHERE group_name = ? AND worker_id = ?"
        )
        held: dict[int, list[_Row]] = {}
        for row in self._database.execute(statement, (self._group, self._worker_id.bytes)):
            if row[3] in tokens:
                held.setdefault(row[3], []).append(row)
        return held

    def _shrink(self, rows: Sequence[_Row], settled: Sequence[Range]) -> None:
        """Take what is settled out of a lease, which then may have several rows."""
        left = without([row[:2] for row in rows], settled)
        for first_id, last_id, *_ in rows:
            if (first_id, last_id) not in left:
                kept = [each for each in left if first_id <= each[0] <= last_id]
                replace_lease(self._database, self._group, first_id, kept)

    def _give_back(self, lease: Lease, begun_at: int) -> None:
        """Let others have what was not begun; the newest fresh events are fresh again."""
        is_newest = self._database.execute(
            "UPDATE groups SET next_id = ? WHERE name = ? AND next_id = ? AND ? = 1",
            (lease.first_id, self._group, lease.last_id + 1, lease.attempt),
        ).rowcount
        if not is_newest and lease.last_id - lease.first_id + 1 >= MANY:
            leave(self._database, self._group, [lease[:2]])
        elif not is_newest:
            ids = range(lease.first_id, lease.last_id + 1)
            self._wait((event_id, lease.attempt - 1, self._now.wall, begun_at, lease.token) for event_id in ids)

    def _wait(self, rows: Iterable[tuple[int, int, int, int, int]]) -> None:
        self._database.executemany(_WAIT, ((self._group, *row) for row in rows))

    def _die(self, event_id: int, attempts: int, details: str, worker_id: UUID, begun_at: int, token: int) -> None:
        row = (self._group, event_id, attempts, details, worker_id.bytes, begun_at, self._now.wall, token)
        self._database.execute(_DIE, row)

    # -- taking ----------------------------------------------------------------------------------------------

    def take(self, want: Want) -> list[Lease]:
        """Give leases: first what was tried before or given back and is due, then fresh events."""
        rows = self._database.execute("SELECT next_id, token, paused FROM groups WHERE name = ?", (self._group,))
        next_id, token, is_paused = rows.fetchone() or (0, 0, True)
        if is_paused:
            return []
        self._take_back(want.max_attempts)
        leases, begun = [], []
        for first_id, last_id, attempt, begun_at in self._due(want):
            token += 1
            leases.append(Lease(first_id, last_id, attempt, token))
            begun.append(begun_at if attempt > 1 else self._now.wall)
        room = want.limit - sum(each.last_id - each.first_id + 1 for each in leases)
        is_retry = bool(leases) and leases[0].attempt > 1
        if room > 0 and not is_retry:
            for first_id, last_id in self._fresh(next_id, room, want):
                token += 1
                leases.append(Lease(first_id, last_id, 1, token))
                begun.append(self._now.wall)
                next_id = max(next_id, last_id + 1)
        if leases:
            self._lend(leases, begun, want.lease_seconds)
            statement = "UPDATE groups SET next_id = ?, token = ? WHERE name = ?"
            self._database.execute(statement, (next_id, token, self._group))
        return leases

    def _fresh(self, next_id: int, room: int, want: Want) -> list[Range]:
        """Take fresh events: what was left before the others.  What nobody has comes together, however much it is."""
        found = take_left(self._database, self._group, room, want)
        room -= sum(last_id - first_id + 1 for first_id, last_id in found)
        if room > 0 and next_id <= want.tail:
            found.append((next_id, min(want.tail, max(next_id + room - 1, want.oldest - 1))))
        return found

    def _take_back(self, max_attempts: int) -> None:
        """Let what ran out wait for another attempt, or die if that was the last."""
        statement = (
            "SELECT first_id, last_id, attempt, token, worker_id, begun_at FROM leases "
            f"WHERE group_name = ? AND attempt > 0 AND NOT {_LIVE}"
        )
        rows = self._database.execute(statement, (self._group, *live_parameters(self._now))).fetchall()
        for first_id, last_id, attempt, token, worker, begun_at in rows:
            self._database.execute("DELETE FROM leases WHERE group_name = ? AND first_id = ?", (self._group, first_id))
            ids = range(first_id, last_id + 1)
            if attempt >= max_attempts and first_id == last_id:  # one of several may not have been begun
                self._died_with(UUID(bytes=worker), ids, attempt, token, begun_at)
            elif last_id - first_id + 1 >= MANY:
                leave(self._database, self._group, [(first_id, last_id)])
            else:
                self._wait((event_id, attempt, self._now.wall, begun_at, token) for event_id in ids)

    def _died_with(self, worker_id: UUID, ids: Iterable[int], attempt: int, token: int, begun_at: int) -> None:
        results = []
        now = from_microseconds(self._now.wall)
        for event_id in ids:
            self._die(event_id, attempt, RAN_OUT, worker_id, begun_at, token)
            result = EventResult(
                new_id(now), event_id, worker_id, False, RAN_OUT, now, group=self._group, attempt=attempt, token=token
            )
            results.append(result)
        insert_results(self._database, self._outbox, results, [])

    def _due(self, want: Want) -> list[tuple[int, int, int, int]]:
        """Take what is due from those that wait: first and last id, attempt, begun_at.

        Never begun ones together; one that was tried before comes alone, for it may be what kills the worker.
        """
        statement = (
            "SELECT event_id, attempts, begun_at FROM waiting WHERE group_name = ? AND due_at <= ? AND event_id <= ? "
            "ORDER BY due_at, event_id LIMIT ?"
        )
        rows = self._database.execute(statement, (self._group, self._now.wall, want.tail, want.limit)).fetchall()
        untried = list(takewhile(lambda row: row[1] == 0, rows))
        rows = untried or rows[:1]
        forget = "DELETE FROM waiting WHERE group_name = ? AND event_id = ?"
        self._database.executemany(forget, ((self._group, row[0]) for row in rows))
        found: list[tuple[int, int, int, int]] = []
        for event_id, attempts, begun_at in rows:
            if found and found[-1][1] + 1 == event_id:
                found[-1] = (found[-1][0], event_id, 1, found[-1][3])
            else:
                found.append((event_id, event_id, attempts + 1, begun_at))
        return found

    def _lend(self, leases: Sequence[Lease], begun: Sequence[int], lease_seconds: float) -> None:
        now = self._now
        times = (now.wall + int(lease_seconds * 1e6), now.boot_id, now.boot_seconds, now.boot_seconds + lease_seconds)
        self._database.executemany(
            _LEASE,
            (
                (self._group, each.first_id, each.last_id, each.attempt, each.token, self._worker_id.bytes, at, *times)
                for each, at in zip(leases, begun, strict=True)
            ),
        )


def _holds(held: dict[int, list[_Row]], token: int, first_id: int, last_id: int) -> bool:
    return any(row[0] <= first_id and last_id <= row[1] for row in held.get(token, ()))


def _begun_at(held: dict[int, list[_Row]], token: int) -> int:
    return held[token][0][4]
