"""``manage.py eventy_info``: what ``eventy-sync info`` prints, of a queue in the settings."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from eventy_sync.cli.inspecting import print_info
from eventy_sync.contrib.django.management.options import add_alias, looked_at


class Command(BaseCommand):
    """Only looks; makes nothing."""

    help = "Print what is in a queue; where Redis coordinates it, how it stands with other roots, too."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add which queue, and how."""
        add_alias(parser)
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print."""
        with looked_at(self, options["alias"]) as queue:
            print_info(queue, options["json"])
