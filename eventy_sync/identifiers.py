"""Time-ordered ids: UUIDs of version 7 (RFC 9562, section 5.7, method 1).

48 bits of milliseconds, then 74 bits that count up from a random start within one millisecond, so
that the rows of one process are appended to an index instead of scattered over it.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import datetime, timezone
from uuid import UUID

_RANDOM_BITS = 74
_START_BITS = 73  # the top bit stays free, so that counting up never overflows
_LOW_BITS = 62  # behind the variant
_VERSION_AND_VARIANT = (7 << 76) | (0b10 << 62)


class _Sequence:
    """The last id that was made.  Thread safe; a fork's child starts afresh."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._millisecond = -1
        self._count = 0

    def next(self, millisecond: int) -> tuple[int, int]:
        with self._lock:
            return millisecond, self._step_locked(millisecond)

    def reserve(self, millisecond: int, count: int) -> int:
        """Return the first of so many counts in a row, all of them on one side of the variant's bits."""
        with self._lock:
            first = self._step_locked(millisecond)
            if (first + count - 1) >> _LOW_BITS != first >> _LOW_BITS:
                first = (first >> _LOW_BITS) + 1 << _LOW_BITS
            self._count = first + count - 1
            return first

    def _step_locked(self, millisecond: int) -> int:
        if millisecond == self._millisecond:
            self._count += 1
        else:
            self._millisecond = millisecond
            self._count = int.from_bytes(os.urandom(10), "big") >> (80 - _START_BITS)
        return self._count


_sequence = _Sequence()


def _restart() -> None:
    global _sequence
    _sequence = _Sequence()


os.register_at_fork(after_in_child=_restart)


def new_id(at: datetime | None = None) -> UUID:
    """Return a new id, made at this time or now.  Thread safe."""
    millisecond, count = _sequence.next(time.time_ns() // 1_000_000 if at is None else milliseconds(at))
    return _id(millisecond, count)


def new_ids(count: int, millisecond: int | None = None) -> UUID:
    """Return the first of `count` new ids in a row, made in this millisecond since 1970 or now.

    The others are the whole numbers that follow ``.int`` of the first; nobody else in this process gets any of them.
    Thread safe.
    """
    millisecond = time.time_ns() // 1_000_000 if millisecond is None else millisecond
    return _id(millisecond, _sequence.reserve(millisecond, count))


def _id(millisecond: int, count: int) -> UUID:
    return UUID(int=floor_id(millisecond).int | (count >> _LOW_BITS) << 64 | (count & (1 << _LOW_BITS) - 1))


def floor_id(millisecond: int) -> UUID:
    """Return the smallest id that can be made in this millisecond since 1970."""
    return UUID(int=min(max(millisecond, 0), (1 << 48) - 1) << 80 | _VERSION_AND_VARIANT)


def milliseconds(at: datetime) -> int:
    """Return whole milliseconds since 1970."""
    delta = at - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000
