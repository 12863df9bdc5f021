"""Commands that only look: ``tail``, ``info``, ``events``, ``results``, ``claims``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
import msgspec

from eventy_sync.cli.grouping import echo_groups
from eventy_sync.cli.operating import echo_roots, known_roots
from eventy_sync.cli.options import (
    echo_json,
    echo_next,
    echo_pairs,
    json_option,
    paging_options,
    serializer_option,
    size_text,
)
from eventy_sync.cli.queue_choice import QueueChoice, queue_options, say_the_mode_once
from eventy_sync.delivery.failures import printable
from eventy_sync.event_queue import EventQueue
from eventy_sync.file import AbstractFileEventQueue
from eventy_sync.models import Claim, EventResult, QueueEvent

LAST_EVENTS = 10
_TIMES = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])


@click.command(epilog="Example: eventy-sync tail --root-dir orders --follow")
@queue_options
@serializer_option
@click.option("--follow", "-f", is_flag=True, show_envvar=True, help="Go on as events come; Ctrl-C ends it.")
@click.option(
    "--from", "from_id", type=click.IntRange(1), show_envvar=True, help="Begin at this event.  [default: the last ten]"
)
@json_option
def tail(choice: QueueChoice, serializer: str, follow: bool, from_id: int | None, as_json: bool) -> None:
    """Print the last events, or all from one on."""
    with choice.existing_queue(serializer) as queue:
        print_tail(queue, follow, from_id, as_json)


def print_tail(queue: EventQueue[Any], follow: bool, from_id: int | None, as_json: bool) -> None:
    """Print the last events of an open queue, or all from one on."""
    stats = queue.stats()
    start = from_id or max(stats["oldest"], stats["tail"] - LAST_EVENTS + 1)
    try:
        for event in queue.iter_events(start, follow=follow):
            _echo_event(event, as_json)
    except KeyboardInterrupt:
        if not follow:
            raise


@click.command(epilog="Example: eventy-sync info --root-dir orders --json")
@queue_options
@json_option
def info(choice: QueueChoice, as_json: bool) -> None:
    """Print what is in a queue; where Redis coordinates it, how it stands with other roots, too."""
    say_the_mode_once()
    with choice.existing_queue() as queue:
        print_info(queue, as_json)


def print_info(queue: AbstractFileEventQueue[Any], as_json: bool) -> None:
    """Print what is in an open queue that is open here only to be looked at."""
    found = {"name": queue.name, "root_dir": str(queue.root_dir), **queue.stats(), **queue.health()}
    roots = known_roots(queue)
    found.pop("worker_id")
    if found.get("workers"):
        found["workers"] -= 1  # this command is no more by now
    if as_json:
        echo_json({**found, "known_roots": roots})
    else:
        found["size_bytes"] = size_text(found["size_bytes"])
        groups = found.pop("groups")
        echo_pairs({"size" if name == "size_bytes" else name: value for name, value in found.items()})
        echo_groups([{"name": name, **each} for name, each in groups.items()])
        echo_roots(roots)


@click.command(epilog="Example: eventy-sync events --root-dir orders --since 2026-01-31 --limit 5")
@queue_options
@serializer_option
@click.option("--since", type=_TIMES, show_envvar=True, help="Only events from this local time on.")
@click.option("--until", type=_TIMES, show_envvar=True, help="Only events up to this local time.")
@paging_options
@json_option
def events(
    choice: QueueChoice,
    serializer: str,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    page_id: str | None,
    as_json: bool,
) -> None:
    """Print a page of events."""
    with choice.existing_queue(serializer) as queue:
        page = queue.search_events(page_id, limit, _aware(since), _aware(until))
    for event in page.items:
        _echo_event(event, as_json)
    echo_next(page, as_json)


@click.command(epilog="Example: eventy-sync results --root-dir orders --failed")
@queue_options
@click.option("--event", "event_id", type=click.IntRange(1), show_envvar=True, help="Only those of this event.")
@click.option("--failed/--succeeded", default=None, show_envvar=True, help="Only those that failed, or did not.")
@click.option("--group", show_envvar=True, help="Only those of this group.")
@paging_options
@json_option
def results(
    choice: QueueChoice,
    event_id: int | None,
    failed: bool | None,
    group: str | None,
    limit: int,
    page_id: str | None,
    as_json: bool,
) -> None:
    """Print a page of what came of handling events."""
    success = None if failed is None else not failed
    with choice.existing_queue() as queue:
        page = queue.search_results(page_id, limit, event_id__eq=event_id, success__eq=success, group__eq=group)
    for result in page.items:
        echo_json(result) if as_json else _echo_result(result)
    echo_next(page, as_json)


@click.command(epilog="Example: eventy-sync claims --root-dir orders")
@queue_options
@paging_options
@json_option
def claims(choice: QueueChoice, limit: int, page_id: str | None, as_json: bool) -> None:
    """Print a page of the claims that are held now."""
    with choice.existing_queue() as queue:
        page = queue.search_claims(page_id, limit)
    for claim in page.items:
        echo_json(claim) if as_json else _echo_claim(claim)
    echo_next(page, as_json)


def _aware(local_time: datetime | None) -> datetime | None:
    return None if local_time is None else local_time.astimezone()


def _echo_event(event: QueueEvent[Any], as_json: bool) -> None:
    if as_json:
        echo_json(event)
    else:
        payload = msgspec.json.encode(event.payload, enc_hook=repr).decode()
        click.echo(f"{event.id}  {event.created_at.astimezone():%Y-%m-%d %H:%M:%S}  {printable(payload)}")


def _echo_result(result: EventResult) -> None:
    outcome = "ok" if result.success else "FAILED"
    details = (result.details or "").strip().splitlines()
    last_line = details[-1] if details else ""
    click.echo(
        f"event {result.event_id}  {outcome}  {result.created_at.astimezone():%Y-%m-%d %H:%M:%S}  {last_line}".rstrip()
    )


def _echo_claim(claim: Claim) -> None:
    click.echo(
        f"{claim.id!r}  worker {claim.worker_id}  token {claim.token}  until {claim.expires_at.astimezone():%H:%M:%S}"
    )
