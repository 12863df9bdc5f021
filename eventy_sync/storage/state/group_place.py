"""How the tables of groups are used: alone, or shared with a server; see `group_mirror.py`.

    place := count SP ("alone" | "shared")

The count grows whenever the tables are told to the server or begin to be used otherwise.  No place is the first, alone.
"""

from __future__ import annotations

import sqlite3

NAME, SHARED, ALONE = "groups", b"shared", b"alone"


def is_shared(place: bytes) -> bool:
    """Return whether the tables are used as shared ones."""
    return place.endswith(SHARED)


def place_of(database: sqlite3.Connection) -> bytes:
    """Return the present place."""
    row = database.execute("SELECT value FROM remembered WHERE name = ?", (NAME,)).fetchone()
    return b"" if row is None else bytes(row[0])


def move(database: sqlite3.Connection, use: bytes) -> bytes:
    """Go to the next place, as a part of a transaction, and return it."""
    place = b"%d %b" % (int(place_of(database).partition(b" ")[0] or b"0") + 1, use)
    database.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?)", (NAME, place))
    return place
