"""Groups as one root's state store knows them: how they are doing, their dead letters, whether they pause."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from eventy_sync.errors import GroupNotFoundError
from eventy_sync.models import DeadLetter, GroupInfo, Page
from eventy_sync.paging import check_limit, decode_page_id, encode_page_id
from eventy_sync.storage.state.boot_clock import Now, live_parameters, live_term, read_clocks
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.filters import from_microseconds
from eventy_sync.storage.state.group_place import NAME, is_shared

_KIND = "dead letters"
_LEASED = "(SELECT COALESCE(SUM(last_id - first_id + 1), 0) FROM leases WHERE group_name = name AND attempt > 0)"
_WAITING = (  # leases without an attempt are left to whoever gets to them
    "((SELECT COUNT(*) FROM waiting WHERE group_name = name) + "
    "(SELECT COALESCE(SUM(last_id - first_id + 1), 0) FROM leases WHERE group_name = name AND attempt = 0))"
)
_DEAD = "(SELECT COUNT(*) FROM dead_letters INDEXED BY dead_letters_by_group WHERE group_name = name)"
_DEAD_COLUMNS = "event_id, group_name, attempts, details, worker_id, begun_at, died_at"
_DEAD_LETTERS = f"SELECT {_DEAD_COLUMNS} FROM dead_letters WHERE group_name = ?"
_LEASE_OF_EVENT = (
    f"SELECT worker_id, attempt, token, begun_at, expires_at, {live_term('leases')} FROM leases "
    "WHERE group_name = ? AND first_id <= ? AND last_id >= ?"
)
_WAITING_EVENT = "SELECT due_at, attempts FROM waiting WHERE group_name = ? AND event_id = ?"
_FINISHED_EVENT = "SELECT 1 FROM finished WHERE group_name = ? AND first_id <= ? AND last_id >= ?"


@dataclass(frozen=True, slots=True)
class HeldBy:
    """A lease on one event.  It `has_run_out` when the next worker that asks takes the event over."""

    worker_id: UUID
    attempt: int
    token: int
    begun_at: datetime
    expires_at: datetime
    has_run_out: bool


@dataclass(frozen=True, slots=True)
class EventInGroup:
    """Where one event is in one group: at most one of `held_by`, `waits_until` and `dead_letter` is there.

    One before the group's beginning is not `is_in_group`.  `attempts` have counted of one that waits.  One that
    `is_handed_out` and in none of the three is finished, for certain if `is_finished`; if not, a worker of another
    root may have it.
    """

    group: str
    is_in_group: bool
    is_handed_out: bool
    is_finished: bool
    is_paused: bool
    held_by: HeldBy | None = None
    waits_until: datetime | None = None
    attempts: int = 0
    dead_letter: DeadLetter | None = None


class GroupTable:
    """Thread safe.  All methods raise StorageError when SQLite refuses."""

    def __init__(self, connection: Connection, clocks: Callable[[], Now] = read_clocks) -> None:
        self._connection, self._clocks = connection, clocks

    def info(self, tail: int) -> list[GroupInfo]:
        """Return how all groups are doing, by name."""
        rows = self._connection.rows(
            f"SELECT name, next_id, {_LEASED}, {_WAITING}, {_DEAD}, paused FROM groups ORDER BY name"
        )
        return [
            GroupInfo(name, next_id, max(0, tail - next_id + 1) + leased + waiting, leased, waiting, dead, bool(paused))
            for name, next_id, leased, waiting, dead, paused in rows
        ]

    def of_event(self, event_id: int) -> list[EventInGroup]:
        """Return where an event is in each group, as far as this root knows, by the groups' names."""
        rows = self._connection.rows("SELECT name, from_index, next_id, paused FROM groups ORDER BY name")
        places = self._connection.rows("SELECT value FROM remembered WHERE name = ?", (NAME,))
        knows_all = not places or not is_shared(bytes(places[0][0]))
        return [self._of_event(event_id, row, knows_all) for row in rows]

    def _of_event(self, event_id: int, row: tuple[Any, ...], knows_all: bool) -> EventInGroup:
        group, from_index, next_id, paused = row
        leases = self._connection.rows(_LEASE_OF_EVENT, (*live_parameters(self._clocks()), group, event_id, event_id))
        waiting = self._connection.rows(_WAITING_EVENT, (group, event_id))
        dead = self._connection.rows(f"{_DEAD_LETTERS} AND event_id = ?", (group, event_id))
        is_open = bool(leases or waiting or dead)
        is_told = bool(self._connection.rows(_FINISHED_EVENT, (group, event_id, event_id)))  # maybe of another root
        is_finished = event_id >= from_index and not is_open and (is_told or (knows_all and event_id < next_id))
        return EventInGroup(
            group,
            is_in_group=event_id >= from_index or is_open,
            is_handed_out=event_id < next_id or is_told,
            is_finished=is_finished,
            is_paused=bool(paused),
            held_by=_held_by(leases[0]) if leases else None,
            waits_until=from_microseconds(waiting[0][0]) if waiting else None,
            attempts=waiting[0][1] if waiting else 0,
            dead_letter=_from_row(dead[0]) if dead else None,
        )

    def is_finished(self, group: str, tail: int) -> bool:
        """Return whether no event up to `tail` is fresh, leased or waits for another attempt; see `LeaseAuthority`."""
        statement = (
            "SELECT next_id > ? AND NOT EXISTS (SELECT 1 FROM leases WHERE group_name = name AND first_id <= ?) "
            "AND NOT EXISTS (SELECT 1 FROM waiting WHERE group_name = name AND event_id <= ? "
            "AND (attempts > 0 OR begun_at > 0 OR due_at <= ?)) FROM groups WHERE name = ?"
        )
        rows = self._connection.rows(statement, (tail, tail, tail, self._clocks().wall, group))
        return not rows or bool(rows[0][0])

    def oldest_unfinished(self) -> int | None:
        """Return the first event that any group has not finished, None if there are no groups."""
        statement = (
            "SELECT MIN(id) FROM (SELECT MIN(next_id) AS id FROM groups UNION ALL SELECT MIN(first_id) FROM leases "
            "UNION ALL SELECT MIN(event_id) FROM waiting)"
        )
        found: int | None = self._connection.rows(statement)[0][0]
        return found

    def pause(self, group: str, paused: bool) -> None:
        """Give no more leases, or give them again; raises GroupNotFoundError."""
        with self._connection.transaction() as database:
            statement = "UPDATE groups SET paused = ?, token = token + 1 WHERE name = ?"
            changed = database.execute(statement, (paused, group)).rowcount
        if not changed:
            raise unknown_group(group)

    def check_known(self, group: str) -> None:
        """Raise GroupNotFoundError unless there is such a group."""
        if not self._connection.rows("SELECT 1 FROM groups WHERE name = ?", (group,)):
            raise unknown_group(group)

    def dead_letters(self, group: str, page_id: str | None, limit: int) -> Page[DeadLetter]:
        """Return a page of dead letters, by event."""
        check_limit(limit)
        self.check_known(group)
        after = 0 if page_id is None else decode_page_id(_KIND, page_id)
        statement = f"{_DEAD_LETTERS} AND event_id > ? ORDER BY event_id LIMIT ?"
        letters = [_from_row(row) for row in self._connection.rows(statement, (group, after, limit + 1))]
        more = len(letters) > limit
        return Page(letters[:limit], encode_page_id(_KIND, letters[limit - 1].event_id) if more else None)

    def requeue(self, group: str, event_ids: Sequence[int] | None) -> int:
        """Make dead letters wait for a first attempt again, all of them for None; return how many."""
        self.check_known(group)
        now = self._clocks().wall
        with self._connection.transaction() as database:
            token = _next_token(database, group)
            if event_ids is None:
                rows = database.execute("SELECT event_id FROM dead_letters WHERE group_name = ?", (group,))
                event_ids = [row[0] for row in rows]
            requeued = 0
            for event_id in event_ids:
                found = database.execute(
                    "DELETE FROM dead_letters WHERE group_name = ? AND event_id = ?", (group, event_id)
                ).rowcount
                if found:
                    statement = "INSERT OR REPLACE INTO waiting VALUES (?, ?, 0, ?, ?, ?)"
                    database.execute(statement, (group, event_id, now, now, token))
                requeued += found
        return requeued


def _next_token(database: sqlite3.Connection, group: str) -> int:
    """Count a token: what is done under it is later than all before, also where other roots know of those."""
    database.execute("UPDATE groups SET token = token + 1 WHERE name = ?", (group,))
    token: int = database.execute("SELECT token FROM groups WHERE name = ?", (group,)).fetchone()[0]
    return token


def unknown_group(group: str) -> GroupNotFoundError:
    """Return the error that says that there is no such group."""
    return GroupNotFoundError(f"there is no group {group!r}: nobody has subscribed with it yet")


def _held_by(row: tuple[Any, ...]) -> HeldBy:
    worker_id, attempt, token, begun_at, expires_at, is_live = row
    times = from_microseconds(begun_at), from_microseconds(expires_at)
    return HeldBy(UUID(bytes=worker_id), attempt, token, *times, has_run_out=not is_live)


def _from_row(row: tuple[Any, ...]) -> DeadLetter:
    event_id, group, attempts, details, worker_id, begun_at, died_at = row
    return DeadLetter(
        event_id=event_id,
        group=group,
        attempts=attempts,
        details=details,
        worker_id=UUID(bytes=worker_id),
        first_attempt_at=from_microseconds(begun_at),
        died_at=from_microseconds(died_at),
    )
