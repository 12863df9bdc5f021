"""What roots tell each other of a group: which events are finished, wait for another attempt, or are dead.

A change may come late, twice, or after a later one: what is known under a larger token stays, and what is told of a
group that was removed is passed over; see `removed_groups.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from eventy_sync.storage.state.filters import Key, Microseconds, Whole
from eventy_sync.storage.state.finished import add_finished, is_finished
from eventy_sync.storage.state.ranges import Range, without
from eventy_sync.storage.state.removed_groups import birth_of, forget_group

GROUP = "group"

WaitingRow = tuple[Whole, Whole, Microseconds, Microseconds, Whole]
"""event_id, attempts, due_at, begun_at, token"""
DeadRow = tuple[Whole, Whole, str, Key, Microseconds, Microseconds, Whole]
"""event_id, attempts, details, worker_id, begun_at, died_at, token"""

_WAIT = (
    "INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET attempts = excluded.attempts, "
    "due_at = excluded.due_at, begun_at = excluded.begun_at, token = excluded.token WHERE excluded.token > token"
)
_DIE = (
    "INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET attempts = excluded.attempts, "
    "details = excluded.details, worker_id = excluded.worker_id, begun_at = excluded.begun_at, "
    "died_at = excluded.died_at, token = excluded.token WHERE excluded.token > token"
)


class GroupChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times are in microseconds since 1970.  `requeued` and `paused` have happened under `token`.

    One that `removed` a group has the birth of whatever comes after it under the name.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    from_index: Whole
    finished: list[tuple[Whole, Whole]] = []
    waiting: list[WaitingRow] = []
    dead: list[DeadRow] = []
    requeued: list[Whole] = []
    requeued_at: Microseconds = 0
    paused: bool | None = None
    token: Whole = 0
    birth: Whole = 0
    removed: bool = False


_decode = msgspec.json.Decoder(GroupChange).decode
_encoder = msgspec.json.Encoder()


def encode_change(change: GroupChange) -> bytes:
    """Return the body of a change of the kind `GROUP`."""
    return _encoder.encode(change)


def removal(group: str, birth: int) -> GroupChange:
    """Return the change that says that a group was removed, and what is its name's birth since."""
    return GroupChange(name=group, from_index=1, birth=birth, removed=True)


def apply_encoded(database: sqlite3.Connection, body: bytes) -> None:
    """Keep what another root, or a worker that died since, says of a group.

    Raises:
        MsgspecError: it says nothing that could be that.
    """
    apply_change(database, _decode(body))


def apply_change(database: sqlite3.Connection, change: GroupChange) -> None:
    """Keep it, as a part of a transaction."""
    birth = birth_of(database, change.name)
    if change.birth > birth:
        forget_group(database, change.name, change.birth)
    if change.birth < birth or change.removed:
        return
    make_known(database, change.name, change.from_index)
    if change.paused is not None:
        statement = "UPDATE groups SET paused = ?, token = ? WHERE name = ? AND token < ?"
        database.execute(statement, (change.paused, change.token, change.name, change.token))
    if change.finished:
        _finish(database, change.name, change.finished)
    at = change.requeued_at
    waiting = [*change.waiting, *((each, 0, at, at, change.token) for each in change.requeued)]
    for event_id, *terms, token in waiting:
        if not is_finished(database, change.name, event_id):
            statement = "DELETE FROM dead_letters WHERE group_name = ? AND event_id = ? AND token < ?"
            database.execute(statement, (change.name, event_id, token))
            drop_leases(database, change.name, [(event_id, event_id)], token)
            if not _is_there(database, "dead_letters", change.name, event_id):
                database.execute(_WAIT, (change.name, event_id, *terms, token))
    for letter in change.dead:
        _die(database, change.name, letter)


def make_known(database: sqlite3.Connection, group: str, from_index: int) -> None:
    """Let this root know that there is such a group, which begins with this event."""
    statement = "INSERT OR IGNORE INTO groups VALUES (?, ?, ?, ?, 0, CAST(strftime('%s', 'now') AS INTEGER) * 1000000)"
    database.execute(statement, (group, from_index, from_index, birth_of(database, group)))


def _finish(database: sqlite3.Connection, group: str, ranges: Sequence[Range]) -> None:
    add_finished(database, group, ranges)
    for first_id, last_id in ranges:
        for table in ("waiting", "dead_letters"):
            statement = f"DELETE FROM {table} WHERE group_name = ? AND event_id BETWEEN ? AND ?"
            database.execute(statement, (group, first_id, last_id))
    drop_leases(database, group, ranges, None)


def _die(database: sqlite3.Connection, group: str, letter: DeadRow) -> None:
    event_id, token = letter[0], letter[-1]
    if is_finished(database, group, event_id):
        return
    statement = "DELETE FROM waiting WHERE group_name = ? AND event_id = ? AND token <= ?"
    database.execute(statement, (group, event_id, token))
    drop_leases(database, group, [(event_id, event_id)], token)
    if not _is_there(database, "waiting", group, event_id):
        database.execute(_DIE, (group, *letter))


def _is_there(database: sqlite3.Connection, table: str, group: str, event_id: int) -> bool:
    statement = f"SELECT 1 FROM {table} WHERE group_name = ? AND event_id = ?"
    return database.execute(statement, (group, event_id)).fetchone() is not None


def drop_leases(database: sqlite3.Connection, group: str, ranges: Sequence[Range], token: int | None) -> None:
    """Take these events out of the leases that this root's workers have, or out of those up to this token."""
    lowest, highest = min(each[0] for each in ranges), max(each[1] for each in ranges)
    statement = "SELECT first_id, last_id, token FROM leases WHERE group_name = ? AND first_id <= ? AND last_id >= ?"
    for first_id, last_id, held in database.execute(statement, (group, highest, lowest)).fetchall():
        if token is None or held <= token:
            left = without([(first_id, last_id)], ranges)
            if left != [(first_id, last_id)]:
                replace_lease(database, group, first_id, left)


def replace_lease(database: sqlite3.Connection, group: str, first_id: int, kept: Sequence[Range]) -> None:
    """Put what is left of a lease, which then may have several rows, in place of the row that begins here."""
    key = (group, first_id)
    for first, last in kept:
        if first != first_id:
            database.execute(
                "INSERT OR REPLACE INTO leases SELECT group_name, ?, ?, attempt, token, worker_id, begun_at, "
                "expires_at, boot_id, created_boot, expires_boot FROM leases WHERE group_name = ? AND first_id = ?",
                (first, last, *key),
            )
    if kept and kept[0][0] == first_id:
        statement = "UPDATE leases SET last_id = ? WHERE group_name = ? AND first_id = ?"
        database.execute(statement, (kept[0][1], *key))
    else:
        database.execute("DELETE FROM leases WHERE group_name = ? AND first_id = ?", key)
