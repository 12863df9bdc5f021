"""Commands for groups: ``groups``, ``dead``, ``requeue``, ``pause``, ``resume``, ``remove-group``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from eventy_sync.cli.options import echo_json, echo_next, json_option, paging_options
from eventy_sync.cli.queue_choice import QueueChoice, queue_options, say_the_mode_once
from eventy_sync.delivery.failures import printable
from eventy_sync.models import DeadLetter


@click.command(epilog="Example: eventy-sync groups --root-dir orders")
@queue_options
@json_option
def groups(choice: QueueChoice, as_json: bool) -> None:
    """Print the groups: how far each is behind, what workers have, what waits, and what is dead."""
    say_the_mode_once()
    with choice.existing_queue() as queue:
        found = queue.groups()
    for each in found:
        if as_json:
            echo_json(each)
    if not as_json:
        echo_groups([asdict(each) for each in found])
        if not found:
            click.echo("no groups: nobody has subscribed with group= yet")


def echo_groups(found: Sequence[dict[str, Any]]) -> None:
    """Print a line for each group."""
    for each in found:
        paused = "  paused" if each["paused"] else ""
        click.echo(
            f"group {each['name']}  lag {each['lag']}  leased {each['leased']}  waiting {each['waiting']}  "
            f"dead {each['dead']}  next {each['next_id']}{paused}"
        )


@click.command(epilog="Example: eventy-sync dead --root-dir orders billing --traceback")
@click.argument("group")
@queue_options
@click.option("--traceback", "-t", is_flag=True, show_envvar=True, help="Print each one's last traceback, too.")
@paging_options
@json_option
def dead(choice: QueueChoice, group: str, traceback: bool, limit: int, page_id: str | None, as_json: bool) -> None:
    """Print a page of the events that GROUP has given up."""
    say_the_mode_once()
    with choice.existing_queue() as queue:
        page = queue.dead_letters(group, page_id, limit)
    for letter in page.items:
        echo_json(letter) if as_json else _echo_letter(letter, traceback)
    if not page.items and not as_json:
        click.echo(f"group {group} has no dead letters{'' if page_id is None else ' from there on'}")
    echo_next(page, as_json)


def _echo_letter(letter: DeadLetter, traceback: bool) -> None:
    lines = letter.details.strip().splitlines()
    times = f"{letter.first_attempt_at.astimezone():%Y-%m-%d %H:%M:%S} to {letter.died_at.astimezone():%H:%M:%S}"
    attempts = "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"
    click.echo(f"event {letter.event_id}  {attempts}  {times}  {printable(lines[-1] if lines else '')}".rstrip())
    if traceback:
        click.echo("".join(f"    {printable(line)}\n" for line in lines), nl=False)


@click.command(epilog="Example: eventy-sync requeue --root-dir orders billing 17 18; or billing --all")
@click.argument("group")
@click.argument("event_ids", nargs=-1, type=click.IntRange(1), metavar="[EVENT_ID]...")
@queue_options
@click.option("--all", "all_letters", is_flag=True, show_envvar=True, help="Hand out all dead letters of the group.")
def requeue(choice: QueueChoice, group: str, event_ids: tuple[int, ...], all_letters: bool) -> None:
    """Hand dead letters of GROUP out again, with all their attempts before them."""
    if all_letters == bool(event_ids):
        raise click.UsageError("name the events, or say --all")
    say_the_mode_once()
    with choice.existing_queue() as queue:
        count = queue.requeue(group, None if all_letters else event_ids)
    click.echo(f"requeued {'1 dead letter' if count == 1 else f'{count} dead letters'} of group {group}")
    if count < len(set(event_ids)):
        raise click.ClickException(
            f"{len(set(event_ids)) - count} of these events are no dead letters of group {group}"
        )


@click.command(epilog="Example: eventy-sync pause --root-dir orders billing")
@click.argument("group")
@queue_options
def pause(choice: QueueChoice, group: str) -> None:
    """Hand no more events of GROUP out, in any worker, until `resume`; what is being handled goes on."""
    say_the_mode_once()
    with choice.existing_queue() as queue:
        queue.pause_group(group)
    click.echo(f"group {group} is paused; eventy-sync resume lets it go on")


@click.command(epilog="Example: eventy-sync resume --root-dir orders billing")
@click.argument("group")
@queue_options
def resume(choice: QueueChoice, group: str) -> None:
    """Hand the events of GROUP out again."""
    say_the_mode_once()
    with choice.existing_queue() as queue:
        queue.resume_group(group)
    click.echo(f"group {group} goes on")


@click.command("remove-group", epilog="Example: eventy-sync remove-group --root-dir orders billing")
@click.argument("group")
@queue_options
@click.option("--yes", "-y", is_flag=True, show_envvar=True, help="Do not ask.")
def remove_group(choice: QueueChoice, group: str, yes: bool) -> None:
    """Forget GROUP, which nobody runs any more: its place, what waits, and its dead letters; results are kept.

    Stop its workers first: those that are left get no more events.
    """
    say_the_mode_once()
    with choice.existing_queue() as queue:
        if not yes:
            found = [asdict(each) for each in queue.groups() if each.name == group]
            echo_groups(found)
            if found:
                click.confirm(
                    "Remove it?  Nobody will handle its dead letters, and what it has not finished", abort=True
                )
        queue.remove_group(group)
    click.echo(f"group {group} is removed; who subscribes with this name again makes a new one")
