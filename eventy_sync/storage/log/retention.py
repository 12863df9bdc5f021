"""Retention: which sealed segments may go.

Whole segments are dropped, oldest first, so that a crash half way leaves a log that merely starts a
little later.  The active segment always stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from eventy_sync.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of the log to keep; what is not given does not limit.

    `max_age` is measured from a segment's last event; `max_bytes` and `max_events` count the whole
    log.  Whole segments go until the limit is met, so less may be left than it allows.

    Raises:
        InvalidArgumentError: a limit is not positive.
    """

    max_age: timedelta | None = None
    max_bytes: int | None = None
    max_events: int | None = None

    def __post_init__(self) -> None:
        if self.max_age is not None and (not isinstance(self.max_age, timedelta) or self.max_age <= timedelta(0)):
            raise InvalidArgumentError("retention max_age must be a timedelta greater than zero")
        for name in ("max_bytes", "max_events"):
            limit = getattr(self, name)
            if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0):
                raise InvalidArgumentError(f"retention {name} must be a whole number greater than zero")


class SegmentSummary(NamedTuple):
    """A segment as retention sees it.  `last_at` is in microseconds UTC, None if it cannot be read."""

    first_id: int
    last_id: int
    size_bytes: int
    last_at: int | None


def expired(segments: Sequence[SegmentSummary], retention: Retention, now: int) -> list[SegmentSummary]:
    """Return the segments that go, oldest first.  The last of `segments` is the active one.

    `now` is in microseconds UTC.
    """
    total_bytes = sum(segment.size_bytes for segment in segments)
    total_events = sum(segment.last_id - segment.first_id + 1 for segment in segments)
    going = []
    for segment in segments[:-1]:
        too_large = retention.max_bytes is not None and total_bytes > retention.max_bytes
        too_many = retention.max_events is not None and total_events > retention.max_events
        if not (too_large or too_many or _too_old(segment, retention, now)):
            break
        going.append(segment)
        total_bytes -= segment.size_bytes
        total_events -= segment.last_id - segment.first_id + 1
    return going


def _too_old(segment: SegmentSummary, retention: Retention, now: int) -> bool:
    if retention.max_age is None or segment.last_at is None:
        return False
    return now - segment.last_at > retention.max_age // timedelta(microseconds=1)
