"""What `publish` was asked for beside the payload, checked: a key, and when the event is due."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta, timezone

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.event_queue import KEY_WINDOW_SECONDS
from eventy_sync.storage.log import MAX_KEY_CHARACTERS, MAX_WINDOW_MICROSECONDS, Marks
from eventy_sync.storage.state import check_text

MAX_SECONDS = MAX_WINDOW_MICROSECONDS // 1_000_000
"""Ten years: the longest window and the longest delay."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def make_marks(
    key: str | None, key_window_seconds: float | None, delay_seconds: float | None, deliver_at: datetime | None
) -> Marks:
    """Return the marks of an event that is published now; see `EventQueue.publish`.

    Raises:
        InvalidArgumentError: one cannot be, or two do not go together.
    """
    if key is None and key_window_seconds is not None:
        raise InvalidArgumentError("key_window_seconds says how long a key is taken: give key=, too")
    if delay_seconds is not None and deliver_at is not None:
        raise InvalidArgumentError("give delay_seconds or deliver_at, not both")
    due = None
    if delay_seconds is not None:
        check_seconds("delay_seconds", delay_seconds, 0)
        due = time.time_ns() // 1000 + math.ceil(delay_seconds * 1e6)
    elif deliver_at is not None:
        due = _due(deliver_at)
    if key is None:
        return Marks(due=due)
    window_seconds = KEY_WINDOW_SECONDS if key_window_seconds is None else key_window_seconds
    check_seconds("key_window_seconds", window_seconds, 1e-6)
    return Marks(check_text("key", key, MAX_KEY_CHARACTERS), math.ceil(window_seconds * 1e6), due)


def check_seconds(what: str, seconds: object, least: float) -> None:
    """Raise InvalidArgumentError unless this is a number of seconds from `least` to ten years."""
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not least <= seconds <= MAX_SECONDS:  # type: ignore[operator]
        raise InvalidArgumentError(
            f"{what} is a number of seconds from {least:g} to {MAX_SECONDS} (ten years), not {seconds!r:.50}"
        )


def _due(deliver_at: datetime) -> int:
    if not isinstance(deliver_at, datetime) or deliver_at.utcoffset() is None:
        raise InvalidArgumentError("deliver_at must be an aware datetime: give it a tzinfo, such as timezone.utc")
    due = (deliver_at - _EPOCH) // _MICROSECOND
    try:
        time_of(due)
    except OverflowError as exc:
        raise InvalidArgumentError("deliver_at must be in the years 1 to 9999 in UTC, too") from exc
    return due


def time_of(microseconds: int) -> datetime:
    """Return a record's time as users see it."""
    return _EPOCH + timedelta(0, 0, microseconds)
