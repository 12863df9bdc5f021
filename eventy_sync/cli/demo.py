"""``eventy-sync demo``: what the project is for, in a few seconds and on real input.

A web server's access log is published line by line; two worker processes share the lines as a group.  One is killed
with -9 in the middle; another takes its place, and what the dead one had in hand, once its leases have run out.  A few
lines fail at first and are tried again; one can never be handled.  The summary is read back from the queue itself.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import click

from eventy_sync.cli.demo_processes import Processes
from eventy_sync.cli.demo_worker import GROUP, LEASE_SECONDS, parse_line
from eventy_sync.cli.options import size_text
from eventy_sync.errors import StorageError
from eventy_sync.file import FileEventQueue
from eventy_sync.models import EventResult

DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.02
BAD_LINE = "this line is no line of an access log"
_WORKER = "from eventy_sync.cli.demo_worker import main; main()"
_PAGE = 1000


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
    root = directory / "lines"
    with FileEventQueue[Any](root, payload_type=dict) as queue:
        publish_seconds = _publish(queue, [*lines, BAD_LINE])
        course = _work(directory, queue)
        _summarize(queue, lines, publish_seconds, course)
    return f"eventy-sync groups --root-dir {root}; eventy-sync dead --root-dir {root} {GROUP}"


def _publish(queue: FileEventQueue[Any], lines: list[str]) -> float:
    started = time.perf_counter()
    with click.progressbar(lines, label="publishing lines    ", update_min_steps=250) as bar:
        for line in bar:
            queue.publish({"line": line})
    return time.perf_counter() - started


def _work(directory: Path, queue: FileEventQueue[Any]) -> Course:
    """Let two workers handle all lines; kill one half way and start another."""
    course = Course()
    started = time.perf_counter()
    with course.processes as processes:
        first = processes.start(_WORKER, directory)
        processes.start(_WORKER, directory)
        _watch(queue, first, directory, course)
    course.seconds = time.perf_counter() - started
    return course


def _watch(queue: FileEventQueue[Any], victim: subprocess.Popen[bytes], directory: Path, course: Course) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    pause = threading.Event()
    total, finished = queue.count_events(), 0
    with click.progressbar(length=total, label="two workers at work ") as bar:
        while finished < total:
            if time.monotonic() > deadline:
                raise StorageError(f"the demo's workers did not finish: {finished} of {total} lines")
            pause.wait(POLL_SECONDS)
            groups = queue.groups()
            before, finished = finished, total - groups[0].lag if groups else 0
            bar.update(finished - before)
            if not course.replaced and finished >= total // 2:
                course.processes.kill(victim)
                course.processes.start(_WORKER, directory)
                course.replaced, course.killed_after = True, finished


def _results(queue: FileEventQueue[Any]) -> Iterator[EventResult]:
    page = queue.search_results(limit=_PAGE)
    yield from page.items
    while page.next_page_id is not None:
        page = queue.search_results(page.next_page_id, _PAGE)
        yield from page.items


def _summarize(queue: FileEventQueue[Any], lines: list[str], publish_seconds: float, course: Course) -> None:
    results = list(_results(queue))
    fresh = {each.event_id: each for each in results if each.success and not each.stale}
    failures = [each for each in results if not each.success]
    workers = Counter(each.worker_id for each in fresh.values())
    statuses = Counter(each.details for each in fresh.values())
    dead = queue.dead_letters(GROUP).items
    again = len({each.event_id for each in failures} & fresh.keys())
    click.echo()
    rate = queue.count_events() / publish_seconds
    click.echo(f"published   {queue.count_events()} lines in {publish_seconds:.2f} s: {rate:,.0f} a second, one by one")
    click.echo(f"killed      one of two workers, with -9, after {course.killed_after} lines")
    for worker, count in workers.most_common():
        click.echo(f"worked      {count} lines by worker {worker}")
    click.echo(f"took        {course.seconds:.1f} s; what a dead worker had is free after {LEASE_SECONDS} s")
    click.echo(f"tried again {again} lines that failed at first")
    for letter in dead:
        last_line = letter.details.strip().splitlines()[-1]
        click.echo(f"given up    event {letter.event_id} after {letter.attempts} attempts: {last_line}")
    click.echo("answers     " + ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
    click.echo(f"on disk     {size_text(queue.stats()['size_bytes'])}, {len(queue.verify().damages)} damaged records")
    if statuses != Counter(map(parse_line, lines)) or len(dead) != 1:
        raise StorageError("the demo lost lines: this is a bug, please report it")
    click.echo("lost        nothing: every line has one success or is given up, and the counts match the file's")
