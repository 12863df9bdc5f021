"""Options and output that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from eventy_sync.models import Page

F = TypeVar("F", bound=Callable[..., Any])

serializer_option = click.option(
    "--serializer",
    default="json",
    envvar="EVENTY_SERIALIZER",
    show_envvar=True,
    help="How payloads are stored: json, msgpack, or (only if you trust the directory) pickle.",
)
json_option = click.option("--json", "as_json", is_flag=True, show_envvar=True, help="Print JSON, a line an item.")


def paging_options(function: F) -> F:
    """Add the options of a command that prints a page."""
    function = click.option("--page", "page_id", show_envvar=True, help="The next_page_id of the page before.")(
        function
    )
    return click.option("--limit", default=20, show_envvar=True, type=click.IntRange(1, 10_000), help="How many.")(
        function
    )


def echo_json(value: Any) -> None:
    """Print one value as a line of JSON, UUIDs and times as text."""
    click.echo(msgspec.json.encode(value, enc_hook=str).decode())


def echo_pairs(pairs: dict[str, Any]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        click.echo(f"{name.replace('_', ' '):{width}}  {'-' if value is None else value}")


def size_text(size_bytes: float) -> str:
    """Return a size as a person reads it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size_bytes < 1024 or unit == "GiB":
            break
        size_bytes /= 1024
    return f"{size_bytes:.0f} {unit}" if unit == "bytes" else f"{size_bytes:.1f} {unit}"


def echo_next(page: Page[Any], as_json: bool) -> None:
    """Say how to get the next page, if there is one."""
    if page.next_page_id is not None:
        note = (
            msgspec.json.encode({"next_page_id": page.next_page_id}).decode()
            if as_json
            else f"more: --page {page.next_page_id}"
        )
        click.echo(note, err=not as_json)
