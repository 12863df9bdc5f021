"""Groups as one root's state store knows them: how they are doing, their dead letters, whether they pause."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from eventy_sync.errors import GroupNotFoundError
from eventy_sync.models import DeadLetter, GroupInfo, Page
from eventy_sync.paging import check_limit, decode_page_id, encode_page_id
from eventy_sync.storage.state.boot_clock import Now, read_clocks
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.filters import from_microseconds

_KIND = "dead letters"
_LEASED = "(SELECT COALESCE(SUM(last_id - first_id + 1), 0) FROM leases WHERE group_name = name AND attempt > 0)"
_WAITING = (  # leases without an attempt are left to whoever gets to them
    "((SELECT COUNT(*) FROM waiting WHERE group_name = name) + "
    "(SELECT COALESCE(SUM(last_id - first_id + 1), 0) FROM leases WHERE group_name = name AND attempt = 0))"
)
_DEAD = "(SELECT COUNT(*) FROM dead_letters INDEXED BY dead_letters_by_group WHERE group_name = name)"
_DEAD_COLUMNS = "event_id, group_name, attempts, details, worker_id, begun_at, died_at"


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
            raise _unknown(group)

    def check_known(self, group: str) -> None:
        """Raise GroupNotFoundError unless there is such a group."""
        if not self._connection.rows("SELECT 1 FROM groups WHERE name = ?", (group,)):
            raise _unknown(group)

    def dead_letters(self, group: str, page_id: str | None, limit: int) -> Page[DeadLetter]:
        """Return a page of dead letters, by event."""
        check_limit(limit)
        self.check_known(group)
        after = 0 if page_id is None else decode_page_id(_KIND, page_id)
        statement = (
            f"SELECT {_DEAD_COLUMNS} FROM dead_letters WHERE group_name = ? AND event_id > ? ORDER BY event_id LIMIT ?"
        )
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


def _unknown(group: str) -> GroupNotFoundError:
    return GroupNotFoundError(f"there is no group {group!r}: nobody has subscribed with it yet")


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
