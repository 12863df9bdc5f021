"""Who gives out ids and times: this module, unless a coordinator of several roots does.

`Numbering.number` is called under the append lock by whoever leads a commit, with the log's end as
it is then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from eventy_sync.errors import StorageError
from eventy_sync.storage.log.keyed import KeyedPublish

CLOCK_STEP_MICROSECONDS = 1_000_000
"""A clock that steps back by more starts a new segment; by less, time stands still meanwhile."""


def now_microseconds() -> int:
    """Return the time in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Entry(NamedTuple):
    """An event that was numbered elsewhere.  `at` is in microseconds UTC."""

    id: int
    at: int
    payload_fields: bytes


def not_written_yet(first_id: int, exc: StorageError) -> StorageError:
    """Return the error for events that are known to others by their ids, and that this disk has refused."""
    return StorageError(
        f"published as event {first_id}, but not written here yet ({exc}): do not publish it again, it comes from the "
        "journal when the disk takes it"
    )


class LogEnd(Protocol):
    """The end of a log whose append lock is held.

    `tail` is its last id, `last_at` the time before which nothing more is written here; `tail_at` is the last
    event's own time, or 0 where that is not known: it is lost, or in a segment before.
    """

    tail: int
    last_at: int
    tail_at: int

    def extend_locked(self, entries: Sequence[Entry]) -> None:
        """Append records that follow the tail; those that are here already are passed over."""

    def lose_locked(self, last_id: int) -> None:
        """Append a record that says that the events from the tail to this one are lost."""

    def start_after_locked(self, last_id: int) -> None:
        """Let a log that is empty begin behind this id."""

    def rotate_locked(self) -> None:
        """Go on in a new segment, unless this one is empty."""


class Numbering(Protocol):
    """Gives out ids.  `is_shared` says that those it gave last are known to others, whatever becomes of the write."""

    is_shared: bool

    def number(self, end: LogEnd, payload_fields: Sequence[bytes]) -> tuple[int, int]:
        """Return the id of the first of these records, of which the others run on, and their time.

        An id that is not behind `end.tail` means that they are in the log already, with what was appended meanwhile.

        Raises:
            CoordinationError: ids cannot be had now; nothing is written then.
        """

    def number_keyed(self, end: LogEnd, keyed: KeyedPublish) -> tuple[int, int]:
        """Return the id and time of an event with a key; raises what `number` does.

        Raises:
            KeyTakenError: an event has the key.
        """


class LocalNumbering:
    """Ids from the log's own tail, times from this machine's clock."""

    is_shared = False

    def __init__(self, clock: Callable[[], int] = now_microseconds) -> None:
        self._clock = clock

    def number(self, end: LogEnd, payload_fields: Sequence[bytes]) -> tuple[int, int]:
        """Return the next id, and the time; it goes back only where the clock took a step."""
        now = self._clock()
        if end.last_at - CLOCK_STEP_MICROSECONDS <= now < end.last_at:
            now = end.last_at
        return end.tail + 1, now

    def number_keyed(self, end: LogEnd, keyed: KeyedPublish) -> tuple[int, int]:
        """See `Numbering.number_keyed`."""
        keyed.check()
        return self.number(end, ())
