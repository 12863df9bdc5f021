"""Runs of results: plain successes on consecutive events that one worker handled on the same terms, kept as one row.

    run   := base_id first_event_id count worker_id ... created_at_us times
    times := offset:uint32 * count, duration:uint32 * count      little-endian, in microseconds

The result at position p has the id ``base_id + p``, the event ``first_event_id + p``, success and no details; it
ended at ``created_at_us + offset``.  `base_id` is made at the end of the last one, so no result of a run ended later
than its id says, and none more than `MAX_SPAN_SECONDS` earlier.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from eventy_sync.identifiers import new_ids
from eventy_sync.models import EventResult
from eventy_sync.storage.state.filters import LATEST_MICROSECONDS, Microseconds, Whole, from_microseconds

MAX_RUN = 500
"""So many results at most are in a run: it bounds what a look for one event or one id has to read."""

MAX_SPAN_SECONDS = 60
"""So far apart at most are the ends of a run's first and last result."""

_MAX_SPAN_US = MAX_SPAN_SECONDS * 1_000_000
_LARGEST = 2**32 - 1
_LARGEST_INT = 2**63 - 1
_TIME = struct.Struct("<I")
_BYTES_EACH = 2 * _TIME.size

_Times = Annotated[bytes, Meta(min_length=_BYTES_EACH, max_length=_BYTES_EACH * MAX_RUN)]


class ResultRun(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Results of consecutive events; make them with `make_runs`.

    `created_at_us` is the end of the one that ended first, in microseconds since 1970, UTC.
    """

    base_id: UUID
    first_event_id: Whole
    worker_id: UUID
    group: str | None
    subscription_id: UUID | None
    attempt: Whole
    token: Whole | None
    created_at_us: Microseconds
    stale: bool
    times: _Times

    @property
    def count(self) -> int:
        """How many results it has."""
        return len(self.times) // _BYTES_EACH

    def end_us(self, position: int) -> int:
        """Return when the result at this position ended, in microseconds since 1970, UTC."""
        return self.created_at_us + int(_TIME.unpack_from(self.times, position * _TIME.size)[0])

    def last_us(self) -> int:
        """Return the end of the one that ended last, in microseconds since 1970, UTC."""
        offsets: tuple[int, ...] = struct.unpack_from(f"<{self.count}I", self.times)
        return self.created_at_us + max(offsets)

    def result(self, position: int) -> EventResult:
        """Return one of the results; positions begin at 0."""
        (duration_us,) = _TIME.unpack_from(self.times, (self.count + position) * _TIME.size)
        return EventResult(
            id=UUID(int=self.base_id.int + position),
            event_id=self.first_event_id + position,
            worker_id=self.worker_id,
            success=True,
            details=None,
            created_at=from_microseconds(self.end_us(position)),
            subscription_id=self.subscription_id,
            group=self.group,
            attempt=self.attempt,
            token=self.token,
            duration_seconds=duration_us / 1_000_000,
            stale=self.stale,
        )

    def check(self) -> None:
        """Raise ValueError for what cannot be a run; each field by itself was looked at when it was decoded."""
        if len(self.times) % _BYTES_EACH:
            raise ValueError("the times of a run have half a result")
        if self.base_id.int + self.count > 2**128 or self.first_event_id + self.count - 1 > _LARGEST_INT:
            raise ValueError("a run goes on behind the last of all ids")
        if self.last_us() > min(self.created_at_us + _MAX_SPAN_US, LATEST_MICROSECONDS):
            raise ValueError("a run lasts too long")


def make_runs(
    first_event_id: int,
    ended_at_us: Sequence[int],
    durations_us: Sequence[int],
    *,
    worker_id: UUID,
    group: str | None = None,
    subscription_id: UUID | None = None,
    attempt: int = 1,
    token: int | None = None,
    stale: bool = False,
) -> list[ResultRun]:
    """Return the successes on consecutive events as runs, one unless there are very many or they took very long.

    `ended_at_us` has the end of each in microseconds since 1970, UTC, and `durations_us` how long each took; a
    duration above 71 minutes is kept as that.  Both have at least one.
    """
    count, first_us, last_us = len(ended_at_us), min(ended_at_us), max(ended_at_us)
    terms = (worker_id, group, subscription_id, attempt, token)
    if count <= MAX_RUN and last_us - first_us <= _MAX_SPAN_US:
        base_id = new_ids(count, last_us // 1000)
        return [
            ResultRun(base_id, first_event_id, *terms, first_us, stale, _times(first_us, ended_at_us, durations_us))
        ]
    half = count // 2
    runs = []
    for start, part in ((0, slice(half)), (half, slice(half, None))):
        runs += make_runs(
            first_event_id + start,
            ended_at_us[part],
            durations_us[part],
            worker_id=worker_id,
            group=group,
            subscription_id=subscription_id,
            attempt=attempt,
            token=token,
            stale=stale,
        )
    return runs


def _times(first_us: int, ended_at_us: Sequence[int], durations_us: Sequence[int]) -> bytes:
    if min(durations_us) < 0 or max(durations_us) > _LARGEST:
        durations_us = [min(max(each, 0), _LARGEST) for each in durations_us]
    offsets = [each - first_us for each in ended_at_us]
    return struct.pack(f"<{2 * len(offsets)}I", *offsets, *durations_us)
