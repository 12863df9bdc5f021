"""``eventy-sync demo``: what the project is for, in a few seconds and on real input.

A web server's access log is published line by line; two worker processes share the work by claims,
in batches.  One is killed with -9 in the middle; another takes its place, and the dead one's claim,
once that has expired.  The summary is read back from the queues themselves.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import click

from eventy_sync.cli.demo_processes import Processes
from eventy_sync.cli.demo_worker import BATCH_EVENTS, CLAIM_SECONDS, parse_line
from eventy_sync.cli.options import size_text
from eventy_sync.errors import StorageError
from eventy_sync.file import FileEventQueue

DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.02
_WORKER = "from eventy_sync.cli.demo_worker import main; main()"


@dataclass
class Course:
    """What happened while the workers ran."""

    seconds: float = 0.0
    killed_after: int = 0
    replaced: bool = False
    processes: Processes = field(default_factory=Processes)


@click.command(epilog="Example: eventy-sync demo --keep /tmp/eventy-demo; eventy-sync demo --redis")
@click.option(
    "--keep", type=click.Path(path_type=Path), show_envvar=True, help="Leave the queues in this new directory."
)
@click.option(
    "--redis",
    "redis_url",
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    show_envvar=True,
    help="Show two hosts that Redis coordinates: with a server of the demo's own, which is killed, or with this one.",
)
def demo(keep: Path | None, redis_url: str | None) -> None:
    """Publish an access log, share it among worker processes, kill one, and show that nothing is lost."""
    directory = keep or Path(tempfile.mkdtemp(prefix="eventy-demo-"))
    if keep is not None and keep.exists():
        raise click.UsageError(f"{str(keep)!r} exists; name a new directory")
    try:
        look_at = _run(directory) if redis_url is None else _run_with_redis(directory, redis_url)
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    if keep is not None:
        click.echo(f"look at it: {look_at}")


def _run_with_redis(directory: Path, url: str) -> str:
    try:
        from eventy_sync.cli import demo_redis
    except ImportError as exc:
        raise click.ClickException(str(exc)) from exc
    demo_redis.run(directory, url)
    return f"eventy-sync tail --root-dir {directory / 'host-a'}; cut -c10- {directory / 'host-b/events'}/*.log"


def _run(directory: Path) -> str:
    lines = (resources.files("eventy_sync.cli") / "demo_data" / "access.log").read_text("utf-8").splitlines()
    with (
        FileEventQueue[Any](directory / "lines", payload_type=dict) as queue,
        FileEventQueue[Any](directory / "reports", payload_type=dict) as reports,
    ):
        publish_seconds = _publish(queue, lines)
        course = _work(directory, reports, -(-len(lines) // BATCH_EVENTS))
        _summarize(queue, reports, lines, publish_seconds, course)
    return f"eventy-sync tail --root-dir {directory / 'lines'}; cut -c10- {directory / 'reports/events'}/*.log"


def _publish(queue: FileEventQueue[Any], lines: list[str]) -> float:
    started = time.perf_counter()
    with click.progressbar(lines, label="publishing lines    ", update_min_steps=250) as bar:
        for line in bar:
            queue.publish({"line": line})
    return time.perf_counter() - started


def _work(directory: Path, reports: FileEventQueue[Any], batches: int) -> Course:
    """Let two workers do all batches; kill one half way and start another."""
    course = Course()
    started = time.perf_counter()
    with course.processes as processes:
        first = processes.start(_WORKER, directory)
        processes.start(_WORKER, directory)
        _watch(reports, batches, first, directory, course)
    course.seconds = time.perf_counter() - started
    return course


def _watch(
    reports: FileEventQueue[Any], batches: int, victim: subprocess.Popen[bytes], directory: Path, course: Course
) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    pause = threading.Event()
    done: set[int] = set()
    seen = 0
    with click.progressbar(length=batches, label="two workers at work ") as bar:
        while len(done) < batches:
            if time.monotonic() > deadline:
                raise StorageError(f"the demo's workers did not finish: {len(done)} of {batches} batches")
            pause.wait(POLL_SECONDS)
            before, tail = len(done), reports.count_events()
            done |= {event.payload["batch"] for event in reports.iter_events(seen + 1)}
            seen = tail
            bar.update(len(done) - before)
            if not course.replaced and len(done) >= batches // 2:
                course.processes.kill(victim)
                course.processes.start(_WORKER, directory)
                course.replaced, course.killed_after = True, len(done)


def _summarize(
    queue: FileEventQueue[Any], reports: FileEventQueue[Any], lines: list[str], publish_seconds: float, course: Course
) -> None:
    by_batch = {event.payload["batch"]: event.payload for event in reports.iter_events()}
    statuses: Counter[str] = Counter()
    workers: Counter[str] = Counter()
    for report in by_batch.values():
        statuses.update(report["statuses"])
        workers[report["worker"]] += report["lines"]
    expected = Counter(parse_line(line) for line in lines)
    repeated = reports.count_events() - len(by_batch)
    rate = len(lines) / publish_seconds
    click.echo()
    click.echo(f"published   {len(lines)} lines in {publish_seconds:.2f} s: {rate:,.0f} a second, one by one")
    click.echo(f"killed      one of two workers, with -9, after {course.killed_after} of {len(by_batch)} batches")
    for worker, count in workers.most_common():
        click.echo(f"worked      {count} lines by worker {worker}")
    click.echo(f"took        {course.seconds:.1f} s; a dead worker's claim is free after {CLAIM_SECONDS} s")
    click.echo("answers     " + ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
    click.echo(f"reports     {len(by_batch)} batches, {repeated} of them reported twice")
    click.echo(f"on disk     {size_text(queue.stats()['size_bytes'])}, {len(queue.verify().damages)} damaged records")
    if statuses != expected or sum(workers.values()) != len(lines):
        raise StorageError("the demo lost lines: this is a bug, please report it")
    click.echo("lost        nothing: every line was handled, and the counts match the file's")
