"""What the commands share: which queue, how their output is caught, and errors as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from eventy_sync.cli.queue_choice import say_the_mode_once
from eventy_sync.contrib.django.configuration import DEFAULT_ALIAS
from eventy_sync.contrib.django.queues import settings_of
from eventy_sync.errors import EventyError
from eventy_sync.file import AbstractFileEventQueue


def add_alias(parser: CommandParser) -> None:
    """Add the option that says which queue."""
    parser.add_argument(
        "--alias", default=DEFAULT_ALIAS, help='The queue, by its key in EVENTY_SYNC; "default" unless given.'
    )


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn what the library refuses into a CommandError."""
    try:
        yield
    except (EventyError, ImproperlyConfigured) as exc:
        raise CommandError(str(exc)) from exc


@contextmanager
def looked_at(command: BaseCommand, alias: str) -> Iterator[AbstractFileEventQueue[Any]]:
    """Open a queue that is there, only to look at it, and print to the command's output."""
    say_the_mode_once()
    output: Any = command.stdout
    output.ending = ""  # whoever prints ends lines themselves
    with errors_in_one_line(), redirect_stdout(output):
        found = settings_of(alias)
        if found.at_once:
            raise CommandError(f"the queue {alias!r} has DELIVER_AT_ONCE: it is in each process that publishes, alone")
        with found.make_queue_to_look_at() as queue:
            yield queue
