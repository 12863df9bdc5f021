"""``eventy-sync worker``: deliver a queue's events to the handlers of a module, in one process or several."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from typing import Any

import click

from eventy_sync.cli.bar import DRAW_SECONDS, Bar, bar_is_possible, lines_above_bar
from eventy_sync.cli.lifeline import Lifeline
from eventy_sync.cli.supervisor import Supervisor
from eventy_sync.cli.tally import Tally, read_totals
from eventy_sync.errors import EventyError
from eventy_sync.file import AbstractFileEventQueue
from eventy_sync.file.running import MOST_THREADS, StopRequests, serve_until_signalled

logger = logging.getLogger(__name__)

AnyQueue = AbstractFileEventQueue[Any]

MOST_PROCESSES = 1000
FAILED = 1
LOG_FORMAT = "%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s"


def check_target(ctx: click.Context, parameter: click.Parameter, target: str) -> str:
    """Return MODULE:QUEUE if it looks like that."""
    module_name, colon, variable = target.partition(":")
    if not (module_name and colon and variable):
        raise click.UsageError(f"{target!r} is not MODULE:QUEUE, such as shop.events:queue", ctx)
    return target


@click.command(
    epilog="Exit codes: 0 stopped, or done, and handlers have finished · 1 could not start, or a process did not end "
    "well · 2 wrong usage · 130 ended at once by a second signal.  "
    "Example: eventy-sync worker shop.events:queue --processes 4"
)
@click.argument("target", metavar="MODULE:QUEUE", callback=check_target)
@click.option(
    "--processes",
    default=1,
    show_envvar=True,
    type=click.IntRange(1, MOST_PROCESSES),
    help="How many worker processes.  From 2 on they are started, and started again if they die, by this one.",
)
@click.option(
    "--threads",
    show_envvar=True,
    type=click.IntRange(1, MOST_THREADS),
    help="How many handlers of a group run at a time in each process, where its subscription does not say.  "
    "[default: 1]",
)
@click.option(
    "--burst",
    is_flag=True,
    show_envvar=True,
    help="Handle what is there, and end when nothing is left to do; a group's events that wait for another attempt "
    "are waited for.  A subscriber that is in no group and has no from_index starts at the present: for it nothing "
    "is there.",
)
@click.option("--lifeline", type=int, hidden=True, allow_from_autoenv=False)
@click.option("--under-bar", is_flag=True, hidden=True, allow_from_autoenv=False)
@click.pass_context
def worker(
    ctx: click.Context,
    target: str,
    processes: int,
    threads: int | None,
    burst: bool,
    lifeline: int | None,
    under_bar: bool,
) -> None:
    """Run the handlers of QUEUE, a variable of MODULE, until SIGINT or SIGTERM.

    Handlers are what the module subscribed with @queue.subscriber, and stored subscribers whose classes it imports.
    The first signal lets running handlers finish, for 30 seconds at the most; a second one ends at once.

    On a terminal a bar shows what has been handled here since the start, what has failed, and the lag of groups;
    not with --verbose.
    """
    logging.getLogger("eventy_sync").setLevel(logging.INFO)
    is_verbose = bool(ctx.find_root().params.get("verbose"))
    if lifeline is not None:
        log_process_ids()
        work_supervised(target, lambda: load_queue(target), threads, burst, lifeline, under_bar)
    elif processes == 1:
        work_here(target, lambda: load_queue(target), threads, burst, bar_is_possible(is_verbose))
    else:
        log_process_ids()
        command = [sys.executable, "-m", "eventy_sync", *(["--verbose"] * is_verbose), "worker", target]
        command += [*(["--threads", str(threads)] if threads else []), *(["--burst"] * burst)]
        if not supervise(target, command, processes, burst, bar_is_possible(is_verbose)):
            ctx.exit(FAILED)


# -- one process ---------------------------------------------------------------------------------------------------


def work_here(target: str, load: Callable[[], AnyQueue], threads: int | None, burst: bool, has_bar: bool) -> None:
    """Run the handlers in this process.  `target` is what the queue is called in what is printed."""
    with lines_above_bar() if has_bar else nullcontext():
        queue = load()
        end = "ends when nothing is left to do" if burst else "Ctrl-C stops it"
        click.echo(f"worker {queue.get_worker_id()} runs {target}; {end}", err=True)
        with _bar_of(queue) if has_bar else nullcontext(threading.Event()) as is_open:
            serve_until_signalled(queue, threads, burst, on_open=is_open.set)
        click.echo("worker stopped", err=True)


@contextmanager
def _bar_of(queue: AnyQueue) -> Iterator[threading.Event]:
    """Show a bar until the block ends; it reads the queue from when the event that is yielded is set."""
    bar, tally = Bar(), Tally(datetime.now(timezone.utc))
    is_open, is_over = threading.Event(), threading.Event()

    def show() -> None:
        while not is_over.wait(DRAW_SECONDS):
            question = tally.question()
            if is_open.is_set() and question is not None:
                try:
                    tally.take(read_totals(queue, question))
                except EventyError:
                    pass  # it closes: the last numbers stay
            bar.draw(tally.text(1))
        bar.clear()

    thread = threading.Thread(target=show, name="eventy-bar", daemon=True)
    thread.start()
    try:
        yield is_open
    finally:
        is_over.set()
        thread.join()


# -- several -------------------------------------------------------------------------------------------------------


def supervise(target: str, command: Sequence[str], processes: int, burst: bool, has_bar: bool) -> bool:
    """Have so many processes run a command that calls `work_supervised`; say whether each ended as it should.

    The command gets the options --lifeline with a number, and --under-bar if there is a bar.
    """
    end = "they end when nothing is left to do" if burst else "Ctrl-C stops them"
    with lines_above_bar() if has_bar else nullcontext():
        click.echo(f"{processes} worker processes run {target}; {end}", err=True)
        supervisor = Supervisor(
            [*command, *(["--under-bar"] * has_bar)], processes, burst=burst, bar=Bar() if has_bar else None
        )
        ended_well = supervisor.run()
        click.echo("workers stopped", err=True)
    return ended_well


def work_supervised(
    target: str, load: Callable[[], AnyQueue], threads: int | None, burst: bool, lifeline_fd: int, under_bar: bool
) -> None:
    """Run the handlers in a process of a supervisor.

    Any number of signals is one here: whoever stops a service may send one to each of its processes, and the
    supervisor another.  To end at once it kills.
    """
    with lines_above_bar() if under_bar else nullcontext():
        stop = StopRequests(second_signal_ends=False)
        lifeline = Lifeline(lifeline_fd, stop)
        queue = load()
        logger.info("runs %s: worker_id=%s", target, queue.get_worker_id())
        serve_until_signalled(queue, threads, burst, stop=stop, on_open=lambda: lifeline.ready(queue))


def program() -> Sequence[str]:
    """Return what Python was started with: a script such as ``manage.py``, or ``-m`` and a module."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return [sys.argv[0]]
    return ["-m", spec.name.removesuffix(".__main__")]


def log_as_a_worker(verbosity: int) -> None:
    """Log to stderr what a worker does, unless the application's own logging says where to.

    Arguments:
        verbosity: 0 for what went wrong, 1 for what the queue does, 2 for what others do as well.
    """
    if logging.getLogger("eventy_sync").hasHandlers():
        return
    logging.basicConfig(level=logging.INFO if verbosity > 1 else logging.WARNING)
    log_process_ids()
    if verbosity:
        logging.getLogger("eventy_sync").setLevel(logging.INFO)


def log_process_ids() -> None:
    """Have log lines say which process they are of."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(LOG_FORMAT))


# -- the module ------------------------------------------------------------------------------------------------------


def load_queue(target: str) -> AnyQueue:
    """Import MODULE:QUEUE, from the present directory too."""
    module_name, _, variable = target.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise  # the module is there; something it imports is not, and the traceback says where
        raise click.ClickException(f"there is no module {module_name!r} here or on PYTHONPATH") from exc
    queue = getattr(module, variable, None)
    if not isinstance(queue, AbstractFileEventQueue):
        raise click.ClickException(
            f"{target} is {'missing' if queue is None else 'not an event queue'}: name a variable that holds one"
        )
    return queue
