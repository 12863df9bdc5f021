"""The ranges of events that a group has finished, as far as this root knows: few rows, apart from each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from eventy_sync.storage.state.ranges import Range, united

_BEFORE = "SELECT first_id, last_id FROM finished WHERE group_name = ? AND first_id <= ? ORDER BY first_id DESC"


def add_finished(database: sqlite3.Connection, group: str, ranges: Iterable[Range]) -> None:
    """Unite these with what is there, as a part of a transaction."""
    for first_id, last_id in ranges:
        touched = []
        for row in database.execute(_BEFORE, (group, last_id + 1)):
            if row[1] < first_id - 1:
                break
            touched.append(row)
        ((first, last),) = united([(first_id, last_id), *touched])
        if touched == [(first, last)]:
            continue
        for each in touched:
            if each[0] != first:
                database.execute("DELETE FROM finished WHERE group_name = ? AND first_id = ?", (group, each[0]))
        database.execute("INSERT OR REPLACE INTO finished VALUES (?, ?, ?)", (group, first, last))


def finished_ranges(database: sqlite3.Connection, group: str) -> list[Range]:
    """Return them in order."""
    statement = "SELECT first_id, last_id FROM finished WHERE group_name = ? ORDER BY first_id"
    return database.execute(statement, (group,)).fetchall()


def is_finished(database: sqlite3.Connection, group: str, event_id: int) -> bool:
    """Return whether this event is."""
    row = database.execute(f"{_BEFORE} LIMIT 1", (group, event_id)).fetchone()
    return row is not None and event_id <= row[1]
