"""Fresh events before a group's next one: long ranges that were passed over by who had not got them.

They are rows of `leases` that nobody holds, with no attempt and no token, and no time: few, however many events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from eventy_sync.storage.state.group_records import Want
from eventy_sync.storage.state.ranges import Range

MANY = 10_000
"""From so many on, events that follow each other do not wait each by itself: no lease to be worked on is so long."""

_NOBODY = bytes(16)


def left_ranges(database: sqlite3.Connection, group: str) -> list[Range]:
    """Return them in order."""
    statement = "SELECT first_id, last_id FROM leases WHERE group_name = ? AND attempt = 0 ORDER BY first_id"
    return database.execute(statement, (group,)).fetchall()


def leave(database: sqlite3.Connection, group: str, ranges: Iterable[Range]) -> None:
    """Add some that are in nobody's lease."""
    statement = "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, 0, 0, ?, 0, 0, '', 0, 0)"
    database.executemany(statement, ((group, *each, _NOBODY) for each in ranges))


def forget_left(database: sqlite3.Connection, group: str) -> None:
    """Let go of all."""
    database.execute("DELETE FROM leases WHERE group_name = ? AND attempt = 0", (group,))


def take_left(database: sqlite3.Connection, group: str, room: int, want: Want) -> list[Range]:
    """Take so many from the first; what comes before the oldest event that there is comes together."""
    statement = "SELECT first_id, last_id FROM leases WHERE group_name = ? AND attempt = 0 AND first_id <= ? LIMIT 1"
    row = database.execute(statement, (group, want.tail)).fetchone()
    if row is None:
        return []
    first_id, last_id = row
    end = min(last_id, want.tail, max(first_id + room - 1, want.oldest - 1))
    database.execute("DELETE FROM leases WHERE group_name = ? AND first_id = ?", (group, first_id))
    if end < last_id:
        leave(database, group, [(end + 1, last_id)])
    return [(first_id, end)]
