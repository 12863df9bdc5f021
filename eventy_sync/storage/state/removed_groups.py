"""Groups that were removed, each with the token that was its last: its name's *birth* from then on.

A group that is made under the name later goes on behind that token.  Whatever roots tell each other of a group has its
birth with it, 0 if none was removed: what is told of an earlier birth is of a group that is no more, and passed over.
"""

from __future__ import annotations

import sqlite3

_TABLES = ("leases", "waiting", "dead_letters", "finished")


def birth_of(database: sqlite3.Connection, group: str) -> int:
    """Return the token under which the last group of this name was removed, 0 if none was."""
    row = database.execute("SELECT birth FROM removed_groups WHERE name = ?", (group,)).fetchone()
    return 0 if row is None else int(row[0])


def forget_group(database: sqlite3.Connection, group: str, birth: int) -> None:
    """Forget all of a group but its results, as a part of a transaction."""
    database.execute("DELETE FROM groups WHERE name = ?", (group,))
    for table in _TABLES:
        database.execute(f"DELETE FROM {table} WHERE group_name = ?", (group,))
    database.execute("INSERT OR REPLACE INTO removed_groups VALUES (?, ?)", (group, birth))
