"""A settlement as the server takes it: a part for each lease, with what the other roots are told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from eventy_sync.identifiers import new_id
from eventy_sync.models import EventResult
from eventy_sync.redis.link import Argument
from eventy_sync.storage.state import (
    RAN_OUT,
    DeadRow,
    GroupChange,
    Lease,
    Range,
    ResultRun,
    Settlement,
    encode_change,
    encode_results,
    encode_runs,
    from_microseconds,
    united,
)


class Place(NamedTuple):
    """Which group it is, where it has begun, and its birth."""

    group: str
    from_index: int
    birth: int

    def change(self, **what: Any) -> GroupChange:
        """Return a change of this group."""
        return GroupChange(name=self.group, from_index=self.from_index, birth=self.birth, **what)


class Part(NamedTuple):
    """What came of one lease, wholly or in part; `change` has its token.  Delays are in milliseconds."""

    change: GroupChange
    returned: list[Range]
    delays: list[int]
    results: list[EventResult]
    runs: list[ResultRun]

    @property
    def token(self) -> int:
        """The lease's token."""
        return self.change.token

    def marked_stale(self) -> Part:
        """Return it with results that came under a token that was overtaken."""
        return self._replace(
            results=[replace(each, stale=True) for each in self.results],
            runs=[msgspec.structs.replace(each, stale=True) for each in self.runs],
        )

    def settled(self) -> list[Range]:
        """Return the events that are in the lease no more."""
        single = [row[0] for row in self.change.waiting] + [row[0] for row in self.change.dead]
        return [*self.change.finished, *self.returned, *((each, each) for each in single)]

    def arguments(self) -> list[Argument]:
        """Return what the script `exchange` takes for it."""
        change = self.change
        retries = zip(change.waiting, self.delays, strict=True)
        return [
            self.token,
            _text(change.finished),
            _text(self.returned),
            " ".join([f"{row[0]}:{row[1]}:{delay}:{0 if row[3] else -(-row[2] // 1000)}" for row, delay in retries]),
            " ".join([str(row[0]) for row in change.dead]),
            encode_runs(self.runs) if self.runs else b"",
            encode_results(self.results) if self.results else b"",
            encode_change(change) if change.finished or change.waiting or change.dead else b"",
        ]


def _text(ranges: Sequence[Range]) -> str:
    return " ".join([f"{first_id}-{last_id}" for first_id, last_id in ranges])


def parts_of(
    place: Place, worker_id: UUID, settlement: Settlement, begun_at: Callable[[int], int], now: int
) -> list[Part]:
    """Return a part for each token; `begun_at` tells since when a lease's events have been tried.

    Times are in microseconds since 1970.
    """
    tokens = settlement.tokens()
    tokens.update(each.token for each in settlement.results if each.token is not None)
    return [_part(place, worker_id, token, settlement, begun_at, now) for token in sorted(tokens)]


def _part(
    place: Place, worker_id: UUID, token: int, settlement: Settlement, begun_at: Callable[[int], int], now: int
) -> Part:
    retries = [each for each in settlement.retries if each.token == token]
    deaths = [each for each in settlement.deaths if each.token == token]
    begun = begun_at(token) if retries or deaths else now
    change = place.change(
        token=token,
        finished=united([each[:2] for each in settlement.done if each.token == token]),
        waiting=[
            (each.event_id, each.attempts, each.due_at, 0, token)
            if each.due_at
            else (each.event_id, each.attempts, now + ceil(each.delay_seconds * 1e6), begun, token)
            for each in retries
        ],
        dead=[(each.event_id, each.attempts, each.details, worker_id.bytes, begun, now, token) for each in deaths],
    )
    return Part(
        change,
        united([each[:2] for each in settlement.returned if each.token == token]),
        [_milliseconds(each.delay_seconds) for each in retries],
        [each for each in settlement.results if each.token == token],
        [each for each in settlement.runs if each.token == token],
    )


def _milliseconds(seconds: float) -> int:
    """Return a delay for the server, whose clock has lost up to a millisecond to rounding: nothing comes early."""
    return ceil(seconds * 1000) + 1 if seconds > 0 else 0


def part_of_dead(place: Place, lease: Lease, worker_id: UUID, begun_at: int, now: int) -> Part:
    """Return the part that declares a lease's events dead, under whom their last attempt ran out."""
    ids = range(lease.first_id, lease.last_id + 1)
    letters: list[DeadRow] = [
        (each, lease.attempt, RAN_OUT, worker_id.bytes, begun_at, now, lease.token) for each in ids
    ]
    change = place.change(token=lease.token, dead=letters)
    at = from_microseconds(now)
    terms = {"group": place.group, "attempt": lease.attempt, "token": lease.token}
    results = [EventResult(new_id(at), each, worker_id, False, RAN_OUT, at, **terms) for each in ids]  # type: ignore[arg-type]
    return Part(change, [], [], results, [])
