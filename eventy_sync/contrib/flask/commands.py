"""``flask eventy``: what ``eventy-sync`` does, for the queue of the app."""

from __future__ import annotations

import functools
import sys

import click
from flask import Flask, current_app
from flask.cli import AppGroup

from eventy_sync.cli.app import Commands
from eventy_sync.cli.bar import bar_is_possible
from eventy_sync.cli.inspecting import print_info, print_tail
from eventy_sync.cli.queue_choice import say_the_mode_once
from eventy_sync.cli.working import (
    FAILED,
    MOST_PROCESSES,
    log_as_a_worker,
    program,
    supervise,
    work_here,
    work_supervised,
)
from eventy_sync.contrib.flask.app_queue import app_queue_of, load_queue
from eventy_sync.contrib.process_queues import AnyQueue
from eventy_sync.file.running import MOST_THREADS


class EventyCommands(AppGroup, Commands):
    """Commands in a context of the app; what the library refuses is one line."""


# With config.from_prefixed_env() a FLASK_EVENTY_… that click reads would be taken for a setting that is not known.
_option = functools.partial(click.option, allow_from_autoenv=False)
_json_option = _option("--json", "as_json", is_flag=True, help="Print JSON, a line an item.")

commands = EventyCommands("eventy", help="Handle the events of the app's queue, and look at them.")


@commands.command(
    epilog="Exit codes: 0 stopped, or done, and handlers have finished · 1 could not start, or a process did not end "
    "well · 2 wrong usage · 130 ended at once by a second signal."
)
@_option(
    "--processes", default=1, type=click.IntRange(1, MOST_PROCESSES), help="How many worker processes; 1 unless given."
)
@_option(
    "--threads",
    type=click.IntRange(1, MOST_THREADS),
    help="How many handlers of a group run at a time in each process, where its subscription does not say.",
)
@_option("--burst", is_flag=True, help="Handle what is there, and end.")
@_option("--verbose", "-v", is_flag=True, help="Log what others than the queue do, too; no bar.")
@_option("--lifeline", type=int, hidden=True)
@_option("--under-bar", is_flag=True, hidden=True)
@click.pass_context
def worker(
    ctx: click.Context,
    processes: int,
    threads: int | None,
    burst: bool,
    verbose: bool,
    lifeline: int | None,
    under_bar: bool,
) -> None:
    """Run the app's handlers until SIGINT or SIGTERM.

    Handlers are what the app has declared with @eventy.subscriber.  The first signal lets running handlers finish, for
    30 seconds at the most; a second one ends at once.
    """
    app = _app()
    name, load = f"the queue of {app.name}", functools.partial(load_queue, app)
    log_as_a_worker(2 if verbose else 1)
    if lifeline is not None:
        work_supervised(name, load, threads, burst, lifeline, under_bar)
    elif processes == 1:
        work_here(name, load, threads, burst, bar_is_possible(verbose))
    else:
        # The same command once more; the options that the supervisor adds make it one process of its own.
        command = [sys.executable, *program(), *sys.argv[1:]]
        if not supervise(name, command, processes, burst, bar_is_possible(verbose)):
            ctx.exit(FAILED)


@commands.command()
@_json_option
def info(as_json: bool) -> None:
    """Print what is in the queue; where Redis coordinates it, how it stands with other roots, too."""
    with _queue_to_look_at() as queue:
        print_info(queue, as_json)


@commands.command()
@_option("--follow", "-f", is_flag=True, help="Go on as events come; Ctrl-C ends it.")
@_option("--from", "from_id", type=click.IntRange(1), help="Begin at this event.  [default: the last ten]")
@_json_option
def tail(follow: bool, from_id: int | None, as_json: bool) -> None:
    """Print the last events, or all from one on."""
    with _queue_to_look_at() as queue:
        print_tail(queue, follow, from_id, as_json)


def _app() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def _queue_to_look_at() -> AnyQueue:
    say_the_mode_once()
    found = app_queue_of(_app())
    assert found is not None  # init_app has added these commands
    return found.settings.make_queue_to_look_at()
