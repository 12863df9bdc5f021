"""Tables as the admin pages show them: plain texts and links, which the template escapes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.utils.timezone import get_current_timezone

from eventy_sync.delivery.failures import printable

PAGE_ROWS = 50
MOST_CHARACTERS = 65_536
"""So much of a payload is shown on a page of its own, and"""
FEW_CHARACTERS = 200
"""so much in a list."""
HIDDEN = "hidden: it takes the permission to view payloads"


@dataclass(frozen=True)
class Cell:
    """One cell: a text, where it leads to if anywhere, and whether its line breaks count."""

    text: str
    url: str = ""
    is_block: bool = False


@dataclass(frozen=True)
class Button:
    """What can be done with a row: posted as ``name=value``."""

    name: str
    value: str
    label: str


@dataclass(frozen=True)
class Line:
    """One row; one with a `key` can be chosen."""

    cells: list[Cell]
    key: str = ""
    button: Button | None = None


@dataclass(frozen=True)
class Link:
    """A way to another list."""

    label: str
    query: str
    is_here: bool = False


@dataclass(frozen=True)
class Table:
    """One page.  `buttons` are for the rows that are chosen, or for all."""

    columns: tuple[str, ...]
    lines: list[Line]
    next_page_id: str | None = None
    filters: list[Link] = field(default_factory=list)
    buttons: list[Button] = field(default_factory=list)
    note: str = ""


def query(**parameters: Any) -> str:
    """Return the part of a URL from ? on; what is None is left out."""
    return "?" + urlencode({name: value for name, value in parameters.items() if value is not None})


def at_text(at: datetime) -> str:
    """Return a time as the reader's clock has it."""
    return f"{at.astimezone(get_current_timezone()):%Y-%m-%d %H:%M:%S}"


def short(text: str) -> str:
    """Return as much of a text as a list shows, in one line."""
    one_line = printable(" ".join(text.split()))
    return one_line if len(one_line) <= FEW_CHARACTERS else f"{one_line[:FEW_CHARACTERS]}…"


def long(text: str) -> str:
    """Return as much of a text as a page of its own shows."""
    whole = printable(text)
    return whole if len(whole) <= MOST_CHARACTERS else f"{whole[:MOST_CHARACTERS]}…"


def payload_text(payload: Any, *, indent: int | None = None) -> str:
    """Return a payload as JSON; what JSON does not have is shown as Python does."""
    text = msgspec.json.encode(payload, enc_hook=repr).decode()
    return text if indent is None else json.dumps(json.loads(text), indent=indent, ensure_ascii=False)
