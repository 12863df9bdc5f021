"""What the tables share: WHERE clauses from optional filters, and columns as they are stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, TypeVar
from uuid import UUID

from msgspec import Meta

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.models import Page
from eventy_sync.paging import decode_page_id, encode_page_id

R = TypeVar("R")

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

LATEST_MICROSECONDS = 253_402_300_799_999_999
"""The end of the year 9999."""

# What a column may hold that another root tells of: SQLite keeps it, and it can be read back.
Key = Annotated[bytes, Meta(min_length=16, max_length=16)]
Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Microseconds = Annotated[int, Meta(ge=0, le=LATEST_MICROSECONDS)]


def to_microseconds(at: datetime) -> int:
    """Return a time as it is stored."""
    return (at - EPOCH) // timedelta(microseconds=1)


def from_microseconds(at: int) -> datetime:
    """Return a stored time."""
    return EPOCH + timedelta(microseconds=at)


def check_text(what: str, text: str, most: int) -> str:
    """Return the text if it has 1 to `most` characters, none of them a control character or lone surrogate.

    Raises:
        InvalidArgumentError: it has not.
    """
    if not isinstance(text, str):
        raise InvalidArgumentError(f"a {what} is a text, not {type(text).__name__}")
    if not 1 <= len(text) <= most:
        raise InvalidArgumentError(f"a {what} has 1 to {most} characters, not {len(text)}")
    if _FORBIDDEN.search(text):
        raise InvalidArgumentError(f"a {what} holds no control characters or lone surrogates: {text!r:.100}")
    return text


def uuid_bytes(value: UUID, what: str) -> bytes:
    """Return a UUID as it is stored.

    Raises:
        InvalidArgumentError: it is no UUID.
    """
    if not isinstance(value, UUID):
        raise InvalidArgumentError(f"{what} must be a UUID, not {value!r:.60}")
    return value.bytes


class Where:
    """A WHERE clause that grows by the filters that are given."""

    def __init__(self) -> None:
        self._terms: list[str] = []
        self.parameters: list[Any] = []

    def add(self, term: str, *parameters: Any) -> None:
        """Add a condition."""
        self._terms.append(term)
        self.parameters += parameters

    def __str__(self) -> str:
        return f"WHERE {' AND '.join(self._terms)}" if self._terms else ""


def page_of(rows: Sequence[tuple[Any, ...]], limit: int, kind: str, make: Callable[[tuple[Any, ...]], R]) -> Page[R]:
    """Return the first `limit` of rows, of which one more was asked for; the first column is the key."""
    more = len(rows) > limit
    return Page([make(row) for row in rows[:limit]], encode_page_id(kind, _text(rows[limit - 1][0])) if more else None)


def page_key(kind: str, page_id: str) -> bytes:
    """Return the UUID in a page id, as it is stored.

    Raises:
        InvalidArgumentError: it is not one of this kind.
    """
    key = decode_page_id(kind, page_id)
    try:
        return bytes.fromhex(str(key))
    except ValueError as exc:
        raise InvalidArgumentError(f"this page_id was not made by a list of {kind}") from exc


def _text(key: str | bytes) -> str:
    return key.hex() if isinstance(key, bytes) else key
