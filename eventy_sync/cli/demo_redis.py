"""``eventy-sync demo --redis``: two hosts, coordinated by Redis, and what may go wrong.

Each host is a directory of its own with two worker processes.  One worker is killed with -9; the server is killed
and started again with nothing in it.  At the end both directories hold the same log, byte for byte.
The summary is read back from the queues themselves.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import click

from eventy_sync.cli.demo_processes import Processes, interrupts_held
from eventy_sync.cli.demo_redis_worker import CLAIM_ID, make_queue
from eventy_sync.cli.options import size_text
from eventy_sync.errors import StorageError
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.cleaning import delete_keys
from eventy_sync.redis.server import RedisServer

HOSTS = ("a", "b")
SHARES = ("a1", "a2", "b1", "b2")
EVENTS_A_SHARE = 200
KILLED, SUCCESSOR = "b2", "b3"
OUTAGE_SECONDS = 0.3
DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.02
_WORKER = "from eventy_sync.cli.demo_redis_worker import main; main()"

Queue = RedisFileEventQueue[Any]


@dataclass
class Course:
    """What happened while the workers ran."""

    url: str
    password: str | None
    prefix: str
    directory: Path
    server: RedisServer | None
    processes: Processes = field(default_factory=Processes)
    worker_ids: dict[str, UUID] = field(default_factory=dict)
    killed_after: int = 0
    server_lost_after: int = 0
    outage_seconds: float = 0.0
    seconds: float = 0.0


def run(directory: Path, url: str | None) -> None:
    """Run the demo with the server at this URL, or with one of its own."""
    if not logging.getLogger().isEnabledFor(logging.INFO):  # that Redis goes away is what is shown
        logging.getLogger("eventy_sync.redis").setLevel(logging.ERROR)
    prefix = f"eventy-demo-{uuid4().hex[:8]}"
    with interrupts_held(), ExitStack() as stack:  # Ctrl-C comes where we wait: inside a destructor it would be lost
        server, password = None, os.environ.get("EVENTY_REDIS_PASSWORD") or None
        if not url:
            server = RedisServer()
            stack.push(server)  # whatever interrupts its start, it is ended
            with interrupts_held():
                server.start()
            url, password = server.url, None
        queues = [make_queue(directory / f"host-{host}", url, password, prefix) for host in HOSTS]
        if server is None:
            stack.callback(delete_keys, url, prefix, password)
        a, b = (stack.enter_context(queue) for queue in queues)
        course = Course(url, password, prefix, directory, server, stack.enter_context(Processes()))
        _work(a, b, course)
        _summarize(a, b, course)


def _work(a: Queue, b: Queue, course: Course) -> None:
    started = time.perf_counter()
    pids = {worker: _start_worker(course, worker, worker) for worker in SHARES}
    total = len(SHARES) * EVENTS_A_SHARE + 1  # and who got the claim
    with _bar("two hosts publishing", total) as advance:

        def wait_for(tail: int) -> None:
            _wait(lambda: advance(a.count_events()) >= tail, f"{tail} events")

        wait_for(total // 5)
        course.processes.kill(pids[KILLED])
        course.killed_after = a.count_events()
        _start_worker(course, SUCCESSOR, KILLED)
        wait_for(total // 2)
        _wait(lambda: _has_published(a, SUCCESSOR, course.killed_after), f"events of {SUCCESSOR}")
        if course.server is not None:
            _lose_server(course.server, course, a)
        wait_for(total)
    course.seconds = time.perf_counter() - started
    to_see = total * (len(course.worker_ids) - 1)
    with _bar("each sees them all  ", to_see) as advance:
        _wait(lambda: advance(_seen(a, b, course)) >= to_see, "all results")
    _wait(lambda: _lines(a) == _lines(b), "equal logs")


def _start_worker(course: Course, worker: str, share: str) -> Any:
    course.worker_ids[worker] = uuid4()
    root = course.directory / f"host-{worker[0]}"
    arguments = (root, course.prefix, course.worker_ids[worker], worker, share, EVENTS_A_SHARE, os.getpid())
    address = {"EVENTY_REDIS_URL": course.url, "EVENTY_REDIS_PASSWORD": course.password or ""}
    return course.processes.start(_WORKER, *arguments, **address)


def _has_published(queue: Queue, worker: str, after: int) -> bool:
    return any(event.payload["worker"] == worker for event in queue.iter_events(after + 1))


def _lose_server(server: RedisServer, course: Course, a: Queue) -> None:
    """Kill the server, which keeps nothing, and start it again after a while."""
    server.kill()
    lost_at, course.server_lost_after = time.perf_counter(), a.count_events()
    threading.Event().wait(OUTAGE_SECONDS)
    with interrupts_held():
        server.start()
    _wait(lambda: a.count_events() > course.server_lost_after + 1, "events after the server was lost")
    course.outage_seconds = time.perf_counter() - lost_at


@contextmanager
def _bar(label: str, length: int) -> Iterator[Callable[[int], int]]:
    """Show a bar; the block says how far it is."""
    shown = 0
    with click.progressbar(length=length, label=label) as bar:

        def advance(to: int) -> int:
            nonlocal shown
            bar.update(to - shown)
            shown = to
            return to

        yield advance


def _wait(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    pause = threading.Event()
    while True:
        with interrupts_held():
            if is_true():
                return
            pause.wait(POLL_SECONDS)
        if time.monotonic() > deadline:
            raise StorageError(f"the demo waited in vain for {what}: this is a bug, please report it")


def _seen(a: Queue, b: Queue, course: Course) -> int:
    """Return how many events the workers that live have seen, all together, as each one's own host knows it."""
    living = {worker: worker_id for worker, worker_id in course.worker_ids.items() if worker != KILLED}
    return sum((a if worker[0] == "a" else b).count_results(worker_id__eq=each) for worker, each in living.items())


def _lines(queue: Queue) -> list[bytes]:
    """Return the records of a root as they are on disk."""
    segments = sorted((Path(queue.root_dir) / "events").glob("*.log"))
    return [line for segment in segments for line in segment.read_bytes().splitlines() if line]


def _summarize(a: Queue, b: Queue, course: Course) -> None:
    events = list(a.iter_events())
    lines = _lines(a)
    size_bytes, digest = sum(map(len, lines)) + len(lines), hashlib.sha256(b"\n".join(lines)).hexdigest()
    claimed = [event.payload["worker"] for event in events if "claimed" in event.payload]
    claim = a.get_claim(CLAIM_ID)
    workers = ", ".join(worker for worker in course.worker_ids if worker != KILLED)
    click.echo()
    click.echo(f"hosts       2 directories with 2 workers each, coordinated by {a.redis_address}")
    click.echo(f"published   {len(events)} events on both hosts in {course.seconds:.1f} s, ids 1 to {events[-1].id}")
    click.echo(
        f"killed      worker {KILLED}, with -9, after {course.killed_after} events; {SUCCESSOR} went on with its share"
    )
    click.echo(_server_line(course))
    click.echo(
        f"claim       one of {len(course.worker_ids)} workers got it: {claimed[0]}, under token {claim.token}; it holds"
    )
    click.echo(f"seen        {len(events)} events in order by each of {workers}")
    click.echo(f"logs        equal on both hosts, byte for byte: {size_text(size_bytes)}, SHA-256 {digest[:12]}…")
    _check(a, b, events, claimed)
    click.echo("lost        nothing, and nothing is there twice")


def _server_line(course: Course) -> str:
    if course.server is None:
        return "server      yours: left alone; without a URL the demo kills one of its own"
    return (
        f"server      killed after {course.server_lost_after} events, started again with nothing in it; "
        f"events went on {course.outage_seconds:.1f} s later"
    )


def _check(a: Queue, b: Queue, events: list[Any], claimed: list[str]) -> None:
    """Raise if something was lost, or is there twice."""
    published = sorted((each.payload["share"], each.payload["n"]) for each in events if "share" in each.payload)
    expected = sorted((share, number) for share in SHARES for number in range(1, EVENTS_A_SHARE + 1))
    in_order = [each.id for each in events] == list(range(1, len(events) + 1))
    failed = sum(not result.success for queue in (a, b) for result in _results(queue))
    is_free = a.create_claim(CLAIM_ID)
    if published != expected or not in_order or failed or len(claimed) != 1 or is_free:
        raise StorageError("the demo lost or doubled something: this is a bug, please report it")


def _results(queue: Queue) -> Iterator[Any]:
    page_id: str | None = None
    while True:
        page = queue.search_results(page_id, 1000)
        yield from page.items
        if (page_id := page.next_page_id) is None:
            return
