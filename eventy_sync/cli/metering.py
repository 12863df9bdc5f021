"""``eventy-sync metrics``: a queue's metrics for Prometheus, served over HTTP by a process of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from eventy_sync.cli.queue_choice import QueueChoice, queue_options, say_the_mode_once
from eventy_sync.file.running import LOOK_SECONDS, StopRequests

if TYPE_CHECKING:
    from eventy_sync.contrib.prometheus import QueueCollector

PORT = 9400


@click.command(epilog="Example: eventy-sync metrics --root-dir orders --port 9400")
@queue_options
@click.option(
    "--port", default=PORT, show_envvar=True, type=click.IntRange(0, 65535), help="Where to listen; 0: any free port."
)
@click.option(
    "--address",
    default="127.0.0.1",
    show_envvar=True,
    help="The address to listen on.  Everybody who reaches it can read the metrics, so it is this host alone at first.",
)
def metrics(choice: QueueChoice, port: int, address: str) -> None:
    """Serve a queue's metrics to Prometheus, at /metrics, until SIGINT or SIGTERM.

    They hold for all processes that have the directory open.  Nothing is delivered, and no payload is told.
    """
    say_the_mode_once()
    try:
        from eventy_sync.contrib.prometheus import QueueCollector
    except ImportError as exc:
        raise click.ClickException(str(exc)) from exc
    stop = StopRequests()
    with stop.on_signals(), choice.existing_queue() as queue:
        with _served(QueueCollector(queue, measures=False), port, address) as url:
            click.echo(f"metrics of {queue.name!r} at {url}; Ctrl-C stops it", err=True)
            while not stop.wait(LOOK_SECONDS):
                pass
        click.echo("stopped", err=True)


@contextmanager
def _served(collector: QueueCollector, port: int, address: str) -> Iterator[str]:
    """Serve what is collected until the block ends, and yield where."""
    from eventy_sync.contrib.prometheus import serve

    try:
        server, thread = serve(collector, port, address)
    except OSError as exc:
        raise click.ClickException(
            f"cannot listen on {address} port {port} ({exc.strerror or exc}): "
            "choose another --port or --address, or stop what listens there"
        ) from exc
    try:
        host = f"[{address}]" if ":" in address else address
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
