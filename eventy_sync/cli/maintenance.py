"""Commands that look after the files: ``verify``, ``repair``, ``gc``."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import click

from eventy_sync.cli.options import echo_json, json_option, size_text
from eventy_sync.cli.queue_choice import existing_root, root_option
from eventy_sync.storage.log import Retention, SegmentSummary, Verification

DAMAGE_FOUND = 3
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """Read a length of time: a number and s, m, h, d or w."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6})([smhdw])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no duration; write a number and s, m, h, d or w, such as 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.command(epilog="Example: eventy-sync verify --root-dir orders || eventy-sync repair --root-dir orders")
@root_option
@json_option
def verify(root_dir: Path, as_json: bool) -> None:
    """Read every record and say what is damaged; changes nothing.  Exit code 3 when something is."""
    with existing_root(root_dir) as queue:
        found = queue.verify()
    _echo_verification(found, as_json)
    if found.damages:
        click.get_current_context().exit(DAMAGE_FOUND)


@click.command(epilog="Example: eventy-sync repair --root-dir orders")
@root_option
@json_option
def repair(root_dir: Path, as_json: bool) -> None:
    """Put what is damaged aside, in .broken files beside the log, and mark the events as lost.

    Safe while workers run.  The events that verify names as damaged stay lost; all others stay as they are.
    """
    with existing_root(root_dir) as queue:
        found = queue.repair()
    _echo_verification(found, as_json)
    if found.damages and not as_json:
        click.echo("repaired: the damaged bytes are kept in .broken files beside the log")


@click.command(epilog="Example: eventy-sync gc --root-dir orders --max-age 30d --dry-run")
@root_option
@click.option(
    "--max-age",
    callback=_duration,
    metavar="DURATION",
    show_envvar=True,
    help="Drop segments whose last event is older, such as 30d.",
)
@click.option(
    "--max-bytes", type=click.IntRange(1), show_envvar=True, help="Drop the oldest segments beyond this size."
)
@click.option(
    "--max-events", type=click.IntRange(1), show_envvar=True, help="Drop the oldest segments beyond so many events."
)
@click.option("--dry-run", is_flag=True, show_envvar=True, help="Say what would go; drop nothing.")
@click.option("--force", is_flag=True, show_envvar=True, help="Drop also what a group has not finished.")
@json_option
def gc(
    root_dir: Path,
    max_age: timedelta | None,
    max_bytes: int | None,
    max_events: int | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Drop old events, whole segments at a time, with their results, and claims that have expired.

    Events that a group has not finished stay, and so do all behind them.
    """
    retention = Retention(max_age=max_age, max_bytes=max_bytes, max_events=max_events)
    with existing_root(root_dir, retention=retention) as queue:
        dropped = queue.apply_retention(dry_run=dry_run, force=force)
    if as_json:
        echo_json({"dry_run": dry_run, "dropped": [segment._asdict() for segment in dropped]})
    else:
        _echo_dropped(dropped, "would drop" if dry_run else "dropped")


def _echo_dropped(dropped: list[SegmentSummary], verb: str) -> None:
    for segment in dropped:
        click.echo(f"{verb} events {segment.first_id} to {segment.last_id} ({size_text(segment.size_bytes)})")
    if not dropped:
        click.echo(
            f"{verb} no events: no limit was given, nothing is beyond it, it is in the active segment, or a group has "
            "not finished it (--force)"
        )


def _echo_verification(found: Verification, as_json: bool) -> None:
    if as_json:
        damages = [
            {
                "segment": each.segment,
                "position": each.position,
                "reason": each.reason,
                "first_id": each.first_id,
                "last_id": each.last_id,
            }
            for each in found.damages
        ]
        echo_json(
            {"events": found.events, "segments": found.segments, "torn_bytes": found.torn_bytes, "damages": damages}
        )
        return
    for damage in found.damages:
        click.echo(str(damage))
    if found.torn_bytes:
        click.echo(
            f"{found.torn_bytes} bytes at the end were left by a writer that died; the next publish puts them aside"
        )
    lost = sum(each.last_id - each.first_id + 1 for each in found.damages)
    click.echo(
        f"{found.events} events in {found.segments} segments ({size_text(found.size_bytes)}), {lost} lost to damage"
    )
