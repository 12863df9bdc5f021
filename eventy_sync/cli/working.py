"""``eventy-sync worker``: deliver a queue's events to the handlers of a module."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any

import click

from eventy_sync.event_queue import EventQueue

logger = logging.getLogger(__name__)


@click.command(epilog="Example: eventy-sync worker shop.events:queue")
@click.argument("target", metavar="MODULE:QUEUE")
def worker(target: str) -> None:
    """Run the handlers of QUEUE, a variable of MODULE, until SIGINT or SIGTERM.

    Handlers are what the module subscribed with @queue.subscriber, and stored subscribers whose
    classes it imports.  The first signal lets running handlers finish, a second one ends at once.
    """
    queue = load_queue(target)
    logging.getLogger("eventy_sync").setLevel(logging.INFO)
    click.echo(f"worker {queue.get_worker_id()} runs {target}; Ctrl-C stops it", err=True)
    queue.run()
    click.echo("worker stopped", err=True)


def load_queue(target: str) -> EventQueue[Any]:
    """Import MODULE:QUEUE, from the present directory too."""
    module_name, colon, variable = target.partition(":")
    if not (module_name and colon and variable):
        raise click.UsageError(f"{target!r} is not MODULE:QUEUE, such as shop.events:queue")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise  # the module is there; something it imports is not, and the traceback says where
        raise click.ClickException(f"there is no module {module_name!r} here or on PYTHONPATH") from exc
    queue = getattr(module, variable, None)
    if not isinstance(queue, EventQueue):
        raise click.ClickException(
            f"{target} is {'missing' if queue is None else 'not an event queue'}: name a variable that holds one"
        )
    return queue
