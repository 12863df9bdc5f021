"""``manage.py eventy_worker``: what ``eventy-sync worker`` does, with the handlers of all apps."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import autoreload

from eventy_sync.cli.bar import bar_is_possible
from eventy_sync.cli.working import MOST_PROCESSES, log_as_a_worker, supervise, work_here, work_supervised
from eventy_sync.contrib.django.management.options import add_alias, errors_in_one_line
from eventy_sync.contrib.django.queues import settings_of
from eventy_sync.contrib.django.working import load_queue, own_command, serve_under_reloader
from eventy_sync.file.running import MOST_THREADS

INTERRUPTED = 130


class Command(BaseCommand):
    """Runs until SIGINT or SIGTERM: the first lets handlers finish, a second ends at once."""

    help = (
        "Run what the apps' subscribers.py have declared for a queue, until SIGINT or SIGTERM.  The first signal lets "
        "running handlers finish, for 30 seconds at the most; a second one ends at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add which queue, and how many at a time."""
        add_alias(parser)
        parser.add_argument("--processes", type=int, default=1, help="How many worker processes; 1 unless given.")
        parser.add_argument(
            "--threads", type=int, help="How many handlers of a group run at a time in each process; 1 unless given."
        )
        parser.add_argument("--burst", action="store_true", help="Handle what is there, and end.")
        parser.add_argument(
            "--noreload",
            action="store_true",
            help="Do not start anew when a file changes.  Without it one process without --burst does, with DEBUG.",
        )
        parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--under-bar", action="store_true", help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        alias, threads = options["alias"], options["threads"]
        _check_count("--processes", options["processes"], MOST_PROCESSES)
        if threads is not None:
            _check_count("--threads", threads, MOST_THREADS)
        log_as_a_worker(options["verbosity"])
        with errors_in_one_line():
            if settings_of(alias).at_once:
                raise CommandError(f"the queue {alias!r} has DELIVER_AT_ONCE: nothing is left to a worker")
            try:
                self._work(alias, threads, options)
            except KeyboardInterrupt:
                self.stderr.write("interrupted")
                sys.exit(INTERRUPTED)

    def _work(self, alias: str, threads: int | None, options: dict[str, Any]) -> None:
        name, load, burst = f"the queue {alias!r}", functools.partial(load_queue, alias), options["burst"]
        if options["lifeline"] is not None:
            work_supervised(name, load, threads, burst, options["lifeline"], options["under_bar"])
        elif options["processes"] > 1:
            command = own_command(alias, threads, burst, options)
            if not supervise(name, command, options["processes"], burst, bar_is_possible(options["verbosity"] > 1)):
                sys.exit(1)
        elif settings.DEBUG and not burst and not options["noreload"]:
            autoreload.run_with_reloader(serve_under_reloader, alias, threads)
        else:
            work_here(name, load, threads, burst, bar_is_possible(options["verbosity"] > 1))


def _check_count(option: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise CommandError(f"{option} is a whole number from 1 to {most}")
