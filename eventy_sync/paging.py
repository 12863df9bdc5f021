"""Page ids: opaque texts that say after which key the next page begins.

A page id is URL-safe base64 of ``["kind", key]``.  It holds a key and never a count of rows, so a page
costs what is on it; the kind keeps one list's page id out of another list.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Union

import msgspec

from eventy_sync.errors import InvalidArgumentError

MAX_LIMIT = 10_000
_MAX_TEXT = 4096


def encode_page_id(kind: str, key: str | int) -> str:
    """Return the page id of a list of this kind that goes on at or after this key."""
    return urlsafe_b64encode(msgspec.json.encode([kind, key])).decode().rstrip("=")


def decode_page_id(kind: str, page_id: str) -> str | int:
    """Return the key in a page id.

    Raises:
        InvalidArgumentError: it is not one, or one of another list.
    """
    try:
        if not isinstance(page_id, str) or len(page_id) > _MAX_TEXT:
            raise ValueError
        text = urlsafe_b64decode(page_id.encode("ascii") + b"=" * (-len(page_id) % 4))
        found_kind, key = msgspec.json.decode(text, type=tuple[str, Union[str, int]])
    except (ValueError, msgspec.MsgspecError) as exc:
        raise InvalidArgumentError("this page_id was not made by this library: pass a page's next_page_id") from exc
    if found_kind != kind:
        raise InvalidArgumentError(f"this page_id is one of {found_kind!r:.50}; it does not fit a list of {kind}")
    return key


def check_limit(limit: int) -> int:
    """Return the limit if it is a whole number from 1 to `MAX_LIMIT`.

    Raises:
        InvalidArgumentError: it is not.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidArgumentError(f"limit must be a whole number from 1 to {MAX_LIMIT}, not {limit!r:.50}")
    return limit


def check_time(time_limit: datetime | None) -> datetime | None:
    """Return the time if it is None or aware.

    Raises:
        InvalidArgumentError: it is naive, or no time.
    """
    if time_limit is not None and (not isinstance(time_limit, datetime) or time_limit.utcoffset() is None):
        raise InvalidArgumentError("times must be aware datetimes: give them a tzinfo, such as timezone.utc")
    return time_limit
