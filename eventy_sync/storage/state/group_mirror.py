"""Groups whose leases a server gives out, as one root remembers them: enough to build them anew.

The tables are those of `LeaseTable`, used in one of two ways.  *Alone*, they are the whole truth: what was handed out
and is in none of them is finished.  *Shared*, they hold what this root knows: its own workers' leases, what was told of
waiting and dead events, and in `finished` what is finished.  Going from one way to the other is a transaction, and
counted: `place` is another one then, and who has asked the server meanwhile must not hand out what it has got.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import msgspec
from msgspec.structs import replace

from eventy_sync.models import EventResult
from eventy_sync.storage.state.boot_clock import Now, read_clocks
from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.finished import add_finished, finished_ranges
from eventy_sync.storage.state.group_changes import (
    GROUP,
    GroupChange,
    apply_change,
    drop_leases,
    encode_change,
    removal,
)
from eventy_sync.storage.state.group_place import ALONE, NAME, SHARED, is_shared, move, place_of
from eventy_sync.storage.state.group_records import Lease
from eventy_sync.storage.state.group_states import GroupState, HeldLease, WaitingEvent, merged
from eventy_sync.storage.state.left import forget_left, leave, left_ranges
from eventy_sync.storage.state.outbox import Outbox
from eventy_sync.storage.state.ranges import Range, united, without
from eventy_sync.storage.state.removed_groups import birth_of
from eventy_sync.storage.state.result_rows import insert_results
from eventy_sync.storage.state.result_runs import ResultRun

_AT_ONCE = 500
_BIRTH = "COALESCE((SELECT birth FROM removed_groups WHERE removed_groups.name = groups.name), 0)"
_UNHEARD_OF = 1_000_000
"""So many tokens the server may have given out that this root has not heard of: its reply was lost."""
_UNKNOWN = "another root has the details, and has not told them yet"
_FIELDS = "event_id, attempts, due_at, begun_at, token"
_DEAD_FIELDS = "event_id, attempts, details, worker_id, begun_at, died_at, token"


class Grant(msgspec.Struct, frozen=True):
    """What the server has given: leases with their ends, and how the group is then.  `begun` has a time for each."""

    leases: list[Lease]
    begun: list[int]
    lease_seconds: float
    next_id: int
    token: int
    paused: bool
    birth: int = 0


class GroupMirror:
    """Thread safe.  All methods raise StorageError when SQLite refuses."""

    def __init__(self, connection: Connection, outbox: Outbox, clocks: Callable[[], Now] = read_clocks) -> None:
        self._connection, self._outbox, self._clocks = connection, outbox, clocks

    # -- alone or shared ---------------------------------------------------------------------------------------

    def place(self) -> bytes:
        """Return what is another one whenever the tables are told to the server, or begin to be used otherwise."""
        rows = self._connection.rows("SELECT value FROM remembered WHERE name = ?", (NAME,))
        return bytes(rows[0][0]) if rows else b""

    def share(self) -> tuple[dict[str, GroupState], bool]:
        """Use the tables as shared ones; return all that is known, and whether they were used alone before."""
        now = self._clocks()
        with self._connection.transaction() as database:
            was_alone = not is_shared(place_of(database))
            states = {name: _read(database, name, now) for name in _names(database)}
            if was_alone:
                states = {name: state.with_all_before_finished() for name, state in states.items()}
                for name, state in states.items():
                    add_finished(database, name, state.finished)
                    forget_left(database, name)  # the server knows it from here on
            move(database, SHARED)
        return states, was_alone

    def be_alone(self) -> bytes:
        """Use the tables alone and return the place: what nobody is known to have finished is handed out again."""
        if not is_shared(place := self.place()):
            return place
        now = self._clocks()
        with self._connection.transaction() as database:
            if not is_shared(place := place_of(database)):
                return place
            for name in _names(database):
                state = merged([_read(database, name, now)])
                _write(database, name, replace(state, token=state.token + _UNHEARD_OF), now)
            return move(database, ALONE)

    # -- what the server says ------------------------------------------------------------------------------------

    def absorb(self, group: str, state: GroupState, *, is_new: bool = False) -> None:
        """Learn what the server knows, and tell the others of a new group; letters' details come from other roots."""
        now = self._clocks()
        waiting = [
            (each.event_id, each.attempts, now.wall + each.due_ms * 1000, each.begun_at, each.token)
            for each in state.waiting
        ]
        with self._connection.transaction() as database:
            known = GroupChange(
                name=group, from_index=state.from_index, finished=state.finished, waiting=waiting, birth=state.birth
            )  # fmt: skip
            apply_change(database, known)
            if birth_of(database, group) == state.birth:
                _keep_numbers(database, group, state.next_id, state.token, state.paused)
            if is_new:
                change = GroupChange(name=group, from_index=state.from_index, birth=state.birth)
                self._outbox.put(database, GROUP, encode_change(change))

    def forget(self, group: str, birth: int) -> None:
        """Learn that the group was removed, and what is its name's birth since."""
        with self._connection.transaction() as database:
            apply_change(database, removal(group, birth))

    def keep(
        self,
        place: bytes,
        worker_id: UUID,
        changes: Sequence[tuple[GroupChange, Sequence[Range]]],
        results: Sequence[EventResult],
        runs: Sequence[ResultRun],
        group: str,
        grant: Grant | None,
    ) -> bool:
        """Keep what the server has accepted and given; False if the leases given must not be handed out.

        With each change come the events that are in no lease of its token any more.  After it ring
        `ResultTable.stored`.
        """
        now = self._clocks()
        with self._connection.transaction() as database:
            is_in_place = is_shared(place) and place_of(database) == place
            is_in_place = is_in_place and (grant is None or birth_of(database, group) == grant.birth)
            for change, settled in changes:
                apply_change(database, change)
                if settled:
                    drop_leases(database, group, settled, change.token)
            if results or runs:
                insert_results(database, None, results, runs)  # the server has told the others
            if grant is not None and is_in_place:
                _lend(database, group, worker_id, grant, now)
        return is_in_place

    # -- what this root knows ------------------------------------------------------------------------------------

    def beginning(self, group: str) -> tuple[int, int] | None:
        """Return where the group has begun, and its birth; None if it is not known."""
        statement = f"SELECT from_index, {_BIRTH} FROM groups WHERE name = ?"
        rows = self._connection.rows(statement, (group,))
        return rows[0] if rows else None

    def begun_at(self, group: str, token: int, default: int) -> int:
        """Return since when the events of a lease have been tried, in microseconds since 1970."""
        rows = self._connection.rows("SELECT begun_at FROM leases WHERE group_name = ? AND token = ?", (group, token))
        return int(rows[0][0]) if rows else default

    def unfinished(self, group: str, tail: int) -> list[Range]:
        """Return the events up to `tail` that are not known to be finished or dead."""
        rows = self._connection.rows("SELECT from_index FROM groups WHERE name = ?", (group,))
        if not rows:
            return []
        known = self._connection.rows(
            "SELECT first_id, last_id FROM finished WHERE group_name = ?1 "
            "UNION ALL SELECT event_id, event_id FROM dead_letters WHERE group_name = ?1",
            (group,),
        )
        return without([(rows[0][0], tail)], known) if rows[0][0] <= tail else []

    def births(self) -> dict[str, int]:
        """Return the names under which groups were removed, each with its birth."""
        return dict(self._connection.rows("SELECT name, birth FROM removed_groups ORDER BY name"))

    def tell_removed(self) -> None:
        """Put the removal of each group into the outbox: others may not have heard of it."""
        births = self.births()
        if births:
            with self._connection.transaction() as database:
                for name, birth in births.items():
                    self._outbox.put(database, GROUP, encode_change(removal(name, birth)))

    def names(self) -> list[str]:
        """Return the groups that are known."""
        return [row[0] for row in self._connection.rows("SELECT name FROM groups ORDER BY name")]

    def changes(self) -> Iterator[GroupChange]:
        """Yield what another root has to know that has missed everything."""
        for name, birth in self.births().items():
            yield removal(name, birth)
        for name, *start in self._connection.rows(f"SELECT name, from_index, {_BIRTH} FROM groups"):
            begun = GroupChange(name=name, from_index=start[0], birth=start[1])
            finished = self._connection.rows("SELECT first_id, last_id FROM finished WHERE group_name = ?", (name,))
            for at in range(0, max(1, len(finished)), _AT_ONCE):
                yield replace(begun, finished=finished[at : at + _AT_ONCE])
            waiting = self._connection.rows(f"SELECT {_FIELDS} FROM waiting WHERE group_name = ?", (name,))
            for at in range(0, len(waiting), _AT_ONCE):
                yield replace(begun, waiting=waiting[at : at + _AT_ONCE])
            for letter in self._connection.rows(
                f"SELECT {_DEAD_FIELDS} FROM dead_letters WHERE group_name = ?", (name,)
            ):
                yield replace(begun, dead=[letter])


def _names(database: sqlite3.Connection) -> list[str]:
    return [row[0] for row in database.execute("SELECT name FROM groups")]


def _read(database: sqlite3.Connection, group: str, now: Now) -> GroupState:
    """Return what the tables have of a group."""
    statement = "SELECT from_index, next_id, token, paused FROM groups WHERE name = ?"
    from_index, next_id, token, paused = database.execute(statement, (group,)).fetchone()
    statement = (
        "SELECT first_id, last_id, attempt, token, worker_id, begun_at, "
        "CASE WHEN boot_id = ? AND created_boot <= ? THEN (expires_boot - ?) * 1000 ELSE (expires_at - ?) / 1000 END "
        "FROM leases WHERE group_name = ? AND attempt > 0"
    )
    parameters = (now.boot_id, now.boot_seconds, now.boot_seconds, now.wall, group)
    leases = [
        HeldLease(first, last, attempt, held, str(UUID(bytes=worker)), begun_at, int(ends_ms))
        for first, last, attempt, held, worker, begun_at, ends_ms in database.execute(statement, parameters)
    ]
    waiting = [
        WaitingEvent(event_id, attempts, under, begun_at, -((now.wall - due_at) // 1000))
        for event_id, attempts, due_at, begun_at, under in database.execute(
            f"SELECT {_FIELDS} FROM waiting WHERE group_name = ?", (group,)
        )
    ]
    dead = database.execute("SELECT event_id, token FROM dead_letters WHERE group_name = ?", (group,)).fetchall()
    return GroupState(
        from_index=from_index,
        next_id=next_id,
        token=token,
        paused=bool(paused),
        finished=finished_ranges(database, group),
        leases=leases,
        waiting=waiting,
        dead=dead,
        left=left_ranges(database, group),
        birth=birth_of(database, group),
    )


def _write(database: sqlite3.Connection, group: str, state: GroupState, now: Now) -> None:
    """Make the tables tell what a group is, for a root that is alone with it."""
    taken = [(each.first_id, each.last_id) for each in state.leases]
    for first_id, last_id in database.execute("SELECT first_id, last_id FROM leases WHERE group_name = ?", (group,)):
        if left_out := without([(first_id, last_id)], taken):
            drop_leases(database, group, left_out, None)
    database.execute("DELETE FROM waiting WHERE group_name = ?", (group,))
    database.executemany(
        "INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?)",
        (
            (group, each.event_id, each.attempts, now.wall + each.due_ms * 1000, each.begun_at, each.token)
            for each in state.waiting
        ),
    )
    leave(database, group, state.left)
    dead = {event_id for event_id, _ in state.dead}
    for (event_id,) in database.execute("SELECT event_id FROM dead_letters WHERE group_name = ?", (group,)).fetchall():
        if event_id not in dead:
            database.execute("DELETE FROM dead_letters WHERE group_name = ? AND event_id = ?", (group, event_id))
    _keep_numbers(database, group, state.next_id, state.token, state.paused)


def _lend(database: sqlite3.Connection, group: str, worker_id: UUID, grant: Grant, now: Now) -> None:
    _keep_numbers(database, group, grant.next_id, grant.token, grant.paused)
    if not grant.leases:
        return
    ranges = united(each[:2] for each in grant.leases)
    drop_leases(database, group, ranges, None)
    for first_id, last_id in ranges:
        statement = "DELETE FROM waiting WHERE group_name = ? AND event_id BETWEEN ? AND ?"
        database.execute(statement, (group, first_id, last_id))
    seconds = grant.lease_seconds
    times = (now.wall + int(seconds * 1e6), now.boot_id, now.boot_seconds, now.boot_seconds + seconds)
    database.executemany(
        "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (group, *each, worker_id.bytes, at, *times)
            for each, at in zip(grant.leases, grant.begun, strict=True)
        ),
    )  # fmt: skip


def _keep_numbers(database: sqlite3.Connection, group: str, next_id: int, token: int, paused: bool) -> None:
    statement = "UPDATE groups SET next_id = ?, token = ?, paused = ? WHERE name = ? AND token <= ?"
    database.execute(statement, (next_id, token, paused, group, token))
