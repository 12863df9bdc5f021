"""Commands that find out what is wrong: ``doctor`` and ``why``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from eventy_sync.cli.maintenance import DAMAGE_FOUND
from eventy_sync.cli.options import echo_json, json_option
from eventy_sync.cli.queue_choice import root_option
from eventy_sync.delivery.failures import printable
from eventy_sync.errors import CorruptRecordError, EventExpiredError, EventNotFoundError, EventyError
from eventy_sync.file.diagnosis import (
    ERROR,
    OK,
    WARNING,
    Finding,
    Story,
    clock,
    counted,
    look_at_file_system,
    look_at_queue,
    tell_story,
)
from eventy_sync.file.identity import QueueIdentity, read_identity
from eventy_sync.storage.log import LogView

_NOT_WELL = 1
_INDENT = " " * 9


@click.command(epilog="Example: eventy-sync doctor orders --redis redis://localhost:6379")
@click.argument("directory", required=False, type=click.Path(path_type=Path), envvar="EVENTY_ROOT_DIR", metavar="[DIR]")
@click.option(
    "--redis-url",
    "--redis",
    envvar="EVENTY_REDIS_URL",
    show_envvar=True,
    help="The server to look at, too; its password may stand in EVENTY_REDIS_PASSWORD.",
)
@click.option("--redis-prefix", envvar="EVENTY_REDIS_PREFIX", show_envvar=True, help="The first part of its keys.")
@click.option("--name", show_envvar=True, help="The queue's name in Redis.  [default: as in the directory]")
@json_option
def doctor(
    directory: Path | None, redis_url: str | None, redis_prefix: str | None, name: str | None, as_json: bool
) -> None:
    """Look at what a queue in DIR stands on, and say what to do where it is not well.

    The file system: do locks exclude, what does an fsync cost, how much room is left.  The queue: is it whole, is a
    group behind, are there dead letters.  The server: version, eviction, permissions, latency, clock.  It makes no
    queue and changes none, and reads all of one.  Exit code 0 when there is no error, 1 when there is one, 3 when it is
    damage.
    """
    if directory is None and not redis_url:
        raise click.UsageError("say what to look at: a directory, --redis redis://host:6379, or both")
    found: list[Finding] = []
    if directory is not None:
        found += [*look_at_file_system(directory), *look_at_queue(directory)]
    if redis_url:
        found += _look_at_redis(directory, redis_url, redis_prefix, name)
    elif directory is not None and (identity := _identity(directory)) is not None and identity.joined is not None:
        text = f"the queue is coordinated by Redis, as {identity.joined.name!r}, and the server was not looked at"
        found.append(Finding("server", "connection", WARNING, text, "name it: --redis redis://host:6379"))
    _echo_findings(found, as_json)
    levels = [each.level for each in found]
    code = DAMAGE_FOUND if any(each.is_damage for each in found) else _NOT_WELL if ERROR in levels else 0
    click.get_current_context().exit(code)


def _look_at_redis(directory: Path | None, url: str, prefix: str | None, name: str | None) -> list[Finding]:
    try:
        from eventy_sync.redis.diagnosis import Place, look_at_server
    except ImportError as exc:
        return [Finding("server", "connection", ERROR, f"a Redis URL is given, but {exc}")]
    identity = _identity(directory) if directory is not None else None
    joined = identity.joined if identity is not None else None
    own_name = directory.absolute().name if directory is not None else "doctor"
    place = Place(
        name or (joined.name if joined else own_name),
        prefix or (joined.prefix if joined else "eventy"),
        identity,
        _tail(directory) if identity is not None and directory is not None else None,
    )
    return look_at_server(url, os.environ.get("EVENTY_REDIS_PASSWORD") or None, place)


def _identity(directory: Path) -> QueueIdentity | None:
    try:
        return read_identity(directory)
    except EventyError:
        return None  # said already


def _tail(directory: Path) -> int | None:
    try:
        log = LogView(directory)
    except EventyError:
        return None
    try:
        return log.tail()
    except EventyError:
        return None
    finally:
        log.close()


def _echo_findings(found: Sequence[Finding], as_json: bool) -> None:
    for each in found:
        if as_json:
            echo_json(asdict(each))
            continue
        click.echo(printable(f"{each.level:{len(_INDENT)}}{each.part}, {each.check}: {each.text}"))
        if each.advice:
            click.echo(printable(f"{_INDENT}-> {each.advice}"))
    if not as_json:
        counts = Counter(each.level for each in found)
        click.echo(f"{counted(counts[ERROR], 'error')}, {counted(counts[WARNING], 'warning')}, {counts[OK]} ok")


@click.command(epilog="Example: eventy-sync why --root-dir orders 17")
@click.argument("event_id", type=click.IntRange(1))
@root_option
@json_option
def why(event_id: int, root_dir: Path, as_json: bool) -> None:
    """Tell one event's story: published, leased, handled or not, claims, dead letters, and where it is now.

    Reads this directory's files alone, and changes nothing.  Where Redis coordinates the queue it tells what this root
    knows.
    """
    try:
        story = tell_story(root_dir, event_id)
    except (EventNotFoundError, EventExpiredError, CorruptRecordError) as exc:
        _echo_no_story(event_id, exc, as_json)
    else:
        _echo_story(story, as_json)


def _echo_no_story(event_id: int, exc: EventyError, as_json: bool) -> None:
    is_corrupt = isinstance(exc, CorruptRecordError)
    text = f"event {event_id} is lost: {exc}" if is_corrupt else str(exc)
    kind = "corrupt" if is_corrupt else "expired" if isinstance(exc, EventExpiredError) else "unknown"
    if as_json:
        echo_json({"at": None, "kind": kind, "text": text, "facts": {"event_id": event_id}})
    else:
        click.echo(f"Error: {text}", err=True)
    click.get_current_context().exit(DAMAGE_FOUND if is_corrupt else _NOT_WELL)


def _echo_story(story: Story, as_json: bool) -> None:
    for each in story.steps:
        if as_json:
            echo_json(asdict(each))
        else:
            click.echo(printable(f"{clock(each.at) if each.at is not None else 'now':23}  {each.text}"))
    if story.is_shared and not as_json:
        click.echo("this is as far as this root knows; other roots may know later things")
