"""What is known of a group, and how the knowledge of several roots becomes one.

Finished events only grow, so they are united.  Of all else that is told of an event (that it is leased, waits, or is
dead) the larger token tells the later thing; under one token an event is leased, then waits, then is dead.  What
nobody accounts for below the last event that somebody does was handed out by who can no longer be asked: it waits.
Where that is much, it was left to roots that have it, and is left as a range.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from eventy_sync.storage.state.left import MANY
from eventy_sync.storage.state.ranges import Range, united, without


class HeldLease(msgspec.Struct, frozen=True, array_like=True):
    """A lease that a worker has.  It runs out in `ends_ms` milliseconds; `begun_at` is in microseconds since 1970."""

    first_id: int
    last_id: int
    attempt: int
    token: int
    worker_id: str
    begun_at: int
    ends_ms: int


class WaitingEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event that is due in `due_ms` milliseconds, after so many attempts that have counted."""

    event_id: int
    attempts: int
    token: int
    begun_at: int
    due_ms: int


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """What one root, or the server, knows; all times are counted from the moment it was told.

    `token` is the largest that is known, and `paused` how it was then.  All that are merged have one `birth`.  `dead`
    has ids and tokens of dead letters, `left` fresh events before `next_id`, which who went on behind had not got.
    """

    from_index: int
    next_id: int
    token: int = 0
    paused: bool = False
    finished: list[Range] = []
    leases: list[HeldLease] = []
    waiting: list[WaitingEvent] = []
    dead: list[tuple[int, int]] = []
    left: list[Range] = []
    birth: int = 0

    def later(self, milliseconds: int) -> GroupState:
        """Return the same, told so much later."""
        return msgspec.structs.replace(
            self,
            leases=[msgspec.structs.replace(each, ends_ms=each.ends_ms - milliseconds) for each in self.leases],
            waiting=[msgspec.structs.replace(each, due_ms=each.due_ms - milliseconds) for each in self.waiting],
        )

    def accounted(self) -> list[Range]:
        """Return what is leased, waits, is dead, or left to who has it."""
        single = [each.event_id for each in self.waiting] + [event_id for event_id, _ in self.dead]
        leased = [(each.first_id, each.last_id) for each in self.leases]
        return united(leased + self.left + [(each, each) for each in single])

    def with_all_before_finished(self) -> GroupState:
        """Return the same where all events are accounted for: what was handed out and is nowhere is finished."""
        finished = without([(self.from_index, self.next_id - 1)], self.accounted())
        return msgspec.structs.replace(self, finished=united(self.finished + finished))


class _Single(NamedTuple):
    """An event by itself; the larger one is the later.  `waiting` is None for a dead letter."""

    token: int
    is_dead: bool
    attempts: int
    waiting: WaitingEvent | None


def merged(states: Sequence[GroupState]) -> GroupState:
    """Return what all know together; there must be one at least."""
    latest = max(states, key=lambda each: each.token)
    from_index = min(each.from_index for each in states)
    finished = united(each for state in states for each in state.finished)
    singles = _singles(states, finished)
    leases = _leases(states, finished, singles)
    waiting = [each.waiting for each in singles.values() if each.waiting is not None]
    dead = sorted((event_id, each.token) for event_id, each in singles.items() if each.is_dead)
    found = GroupState(
        from_index=from_index,
        next_id=0,
        paused=latest.paused,
        finished=finished,
        leases=leases,
        dead=dead,
        birth=latest.birth,
    )
    known = united(finished + found.accounted() + [(each.event_id, each.event_id) for each in waiting])
    next_id = max(from_index, known[-1][1] + 1 if known else 0)
    gaps = without([(from_index, next_id - 1)], known)
    left = [each for each in gaps if each[1] - each[0] + 1 >= MANY]
    for first_id, last_id in without(gaps, left):
        waiting += [WaitingEvent(event_id, 0, 0, 0, 0) for event_id in range(first_id, last_id + 1)]
    tokens = [latest.token, *(each.token for each in leases), *(each.token for each in singles.values())]
    waiting.sort(key=lambda each: each.event_id)
    return msgspec.structs.replace(found, next_id=next_id, token=max(tokens), waiting=waiting, left=left)


def _singles(states: Iterable[GroupState], finished: Sequence[Range]) -> dict[int, _Single]:
    """Return what is told last of each event by itself."""
    singles: dict[int, _Single] = {}
    for state in states:
        told = [(each.event_id, _Single(each.token, False, each.attempts, each)) for each in state.waiting]
        told += [(event_id, _Single(token, True, 0, None)) for event_id, token in state.dead]
        for event_id, single in told:
            if event_id not in singles or single[:3] > singles[event_id][:3]:
                singles[event_id] = single
    firsts = [first_id for first_id, _ in finished]
    for event_id in list(singles):
        position = bisect_right(firsts, event_id) - 1
        if position >= 0 and event_id <= finished[position][1]:
            del singles[event_id]
    return singles


def _leases(states: Iterable[GroupState], finished: Sequence[Range], singles: dict[int, _Single]) -> list[HeldLease]:
    """Return the leases that nothing later is told of; single events that are told of earlier leave `singles`."""
    ids = sorted(singles)
    gone, found = list(finished), []
    for lease in sorted((each for state in states for each in state.leases), key=lambda each: -each.token):
        inside = ids[bisect_left(ids, lease.first_id) : bisect_right(ids, lease.last_id)]
        later = [(each, each) for each in inside if each in singles and singles[each].token >= lease.token]
        left = without([(lease.first_id, lease.last_id)], gone + later)
        for first_id, last_id in left:
            found.append(msgspec.structs.replace(lease, first_id=first_id, last_id=last_id))
            for each in ids[bisect_left(ids, first_id) : bisect_right(ids, last_id)]:
                singles.pop(each, None)
        gone += left
    return sorted(found, key=lambda each: each.first_id)
