"""The group of commands, and what all of them share: errors, exit codes, logging.

Exit codes: 0 done · 1 refused or failed, with one line that says why · 2 wrong usage ·
3 damage found · 130 interrupted.
"""

from __future__ import annotations

import logging
from typing import Any

import click

from eventy_sync.cli import (
    demo,
    diagnosing,
    grouping,
    inspecting,
    maintenance,
    metering,
    operating,
    publishing,
    working,
)
from eventy_sync.errors import EventyError
from eventy_sync.version import __version__

INTERRUPTED = 130
LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class Commands(click.Group):
    """A group that turns the library's errors into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except EventyError as exc:
            raise click.ClickException(str(exc)) from exc
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in the order in which a newcomer meets them, not by the alphabet."""
        rows = [(name, command.get_short_help_str(100)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "EVENTY",
        "show_default": True,
        "max_content_width": 100,
    },
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 damage found, 130 interrupted.  "
    "Each option can be set by an environment variable; every command's -h names them.",
)
@click.version_option(__version__, prog_name="eventy-sync")
@click.option("--verbose", "-v", is_flag=True, help="Log what happens to stderr.")
def main(verbose: bool) -> None:
    """A durable event queue in a directory.

    \b
    Example:
      eventy-sync demo
      eventy-sync publish --root-dir orders '{"id": 7}'
      eventy-sync tail --root-dir orders
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format=LOG_FORMAT)


for each in (
    demo.demo,
    publishing.publish,
    inspecting.tail,
    working.worker,
    inspecting.info,
    inspecting.events,
    inspecting.results,
    inspecting.claims,
    grouping.groups,
    grouping.dead,
    grouping.requeue,
    grouping.pause,
    grouping.resume,
    grouping.remove_group,
    operating.health,
    operating.workers,
    metering.metrics,
    operating.resync,
    operating.forget_root,
    diagnosing.doctor,
    diagnosing.why,
    maintenance.verify,
    maintenance.repair,
    maintenance.gc,
):
    main.add_command(each)
