"""``manage.py eventy_tail``: what ``eventy-sync tail`` prints, of a queue in the settings."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from eventy_sync.cli.inspecting import print_tail
from eventy_sync.contrib.django.management.options import add_alias, looked_at


class Command(BaseCommand):
    """Only looks; makes nothing."""

    help = "Print the last events of a queue, or all from one on."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add which queue, which events, and how."""
        add_alias(parser)
        parser.add_argument("--follow", "-f", action="store_true", help="Go on as events come; Ctrl-C ends it.")
        parser.add_argument("--from", dest="from_id", type=int, help="Begin at this event; the last ten unless given.")
        parser.add_argument("--json", action="store_true", help="Print JSON, a line an event.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print."""
        if options["from_id"] is not None and options["from_id"] < 1:
            raise CommandError("--from is the id of an event: a whole number from 1 on")
        with looked_at(self, options["alias"]) as queue:
            print_tail(queue, options["follow"], options["from_id"], options["json"])
