"""``eventy-sync publish``: one payload from the command line, or many from stdin."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import click
import msgspec

from eventy_sync.cli.options import echo_json, json_option, serializer_option
from eventy_sync.cli.queue_choice import QueueChoice, queue_options
from eventy_sync.errors import EventyError, InvalidPayloadError
from eventy_sync.event_queue import EventQueue
from eventy_sync.models import QueueEvent

BATCH_EVENTS = 1000


@click.command(epilog="Example: echo '{\"id\": 7}' | eventy-sync publish --root-dir orders")
@click.argument("payload", required=False)
@queue_options
@serializer_option
@click.option(
    "--durability",
    type=click.Choice(["os", "interval", "fsync"]),
    default="interval",
    show_envvar=True,
    help="How safe against a power cut each event is before the command goes on.",
)
@click.option(
    "--key", show_envvar=True, help="Publish nothing if an event of the last day has this key: name that one."
)
@click.option(
    "--key-window",
    "key_window_seconds",
    type=float,
    show_envvar=True,
    help="Seconds in place of that day, from now on.",
)
@click.option(
    "--delay", "delay_seconds", type=float, show_envvar=True, help="Seconds until subscribers are to get the event."
)
@click.option(
    "--at",
    "deliver_at",
    show_envvar=True,
    help="When subscribers are to get the event: a time with its zone, as 2030-01-31T08:00:00+01:00.",
)
@json_option
def publish(
    payload: str | None, choice: QueueChoice, serializer: str, durability: Any, as_json: bool, **asked: Any
) -> None:
    """Publish PAYLOAD, which is JSON, or each line of stdin, which is JSON too.

    The queue is made when it is not there.  At the first line that is no JSON the command stops
    and says which it was; the lines before it are published.
    """
    if asked["deliver_at"] is not None:
        asked["deliver_at"] = _time(asked["deliver_at"])
    if payload in (None, "-") and any(each is not None for each in asked.values()):
        raise click.UsageError("--key, --key-window, --delay and --at are for one event: give PAYLOAD, too")
    with choice.any_queue(serializer, durability=durability) as queue:
        if payload is not None and payload != "-":
            parsed = _parse(payload.encode("utf-8", "surrogateescape"), "PAYLOAD")
            first = last = queue.publish(parsed, **asked).id
        else:
            first, last = _publish_lines(queue, sys.stdin.buffer)
    _report(first, last, as_json, has_key=asked["key"] is not None)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.removesuffix("Z") + "+00:00" if text.endswith("Z") else text)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r} is no time: write it as 2030-01-31T08:00:00+01:00") from exc


def _report(first: int, last: int, as_json: bool, has_key: bool) -> None:
    count = last - first + 1
    if as_json:
        echo_json({"count": count, "first_id": first if count else None, "last_id": last if count else None})
    elif has_key:
        click.echo(f"event {first} has this key")  # it may have been there
    elif count == 0:
        click.echo("nothing to publish: stdin was empty")
    else:
        click.echo(f"published event {first}" if count == 1 else f"published {count} events, the last is {last}")


def _publish_lines(queue: EventQueue[Any], stream: BinaryIO) -> tuple[int, int]:
    """Publish JSON lines in batches; return the first and last id, (1, 0) for none."""
    ids: list[int] = []
    published = 0

    def flush(batch: list[Any]) -> None:
        nonlocal published
        try:
            events: list[QueueEvent[Any]] = queue.publish_many(batch)
        except EventyError as exc:  # never tried again here: they may have been published
            raise click.ClickException(f"{exc} ({published} events of earlier lines are published)") from exc
        published += len(events)
        ids.extend(event.id for event in (events[:1] + events[-1:] if events else []))

    batch: list[Any] = []
    for number, line in _lines_with_progress(stream):
        try:
            batch.append(_parse(line, f"line {number} of stdin"))
        except InvalidPayloadError as exc:
            flush(batch)
            raise InvalidPayloadError(f"{exc} ({published} events before it are published)") from exc
        if len(batch) == BATCH_EVENTS:
            flush(batch)
            batch = []
    flush(batch)
    return (min(ids), max(ids)) if ids else (1, 0)


def _lines_with_progress(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the number and text of each line that is not blank, with a bar where a terminal shows it."""
    status = os.fstat(stream.fileno())
    length = status.st_size if stat.S_ISREG(status.st_mode) else None
    hidden = length is None or not sys.stderr.isatty()
    with click.progressbar(length=length or 0, label="publishing", file=sys.stderr, hidden=hidden) as bar:
        for number, line in enumerate(stream, 1):
            bar.update(len(line))
            if line.strip():
                yield number, line


def _parse(text: bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidPayloadError(f"{where} is not JSON: {exc}") from exc
