"""Groups: draining a backlog, results kept, beside raw Redis streams and the acknowledging peers."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from benchmarks.measure import PAYLOAD, ROUNDS
from benchmarks.peers import DRAINS
from eventy_sync import FileEventQueue, RedisFileEventQueue
from eventy_sync.file import AbstractFileEventQueue
from eventy_sync.redis.server import RedisServer

PEER_EVENTS = 2000
PAUSE_SECONDS = 0.002

WORKER = """
import sys, time
from eventy_sync import FileEventQueue, RedisFileEventQueue
root, url, sleep_seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
def handle(event):
    if sleep_seconds:
        time.sleep(sleep_seconds)
if url:
    queue = RedisFileEventQueue(root, payload_type=dict, name="bench-groups", redis_url=url, durability="os")
else:
    queue = FileEventQueue(root, payload_type=dict, durability="os")
with queue:
    print("ready", flush=True)
    sys.stdin.readline()
    queue.subscribe(handle, group="bench", from_index=1)
    sys.stdin.readline()
"""


def _queue(root: Path, url: str, payload_type: type = dict, name: str = "bench-groups") -> AbstractFileEventQueue[Any]:
    if url:
        return RedisFileEventQueue(root, payload_type=payload_type, name=name, redis_url=url, durability="os")
    return FileEventQueue(root, payload_type=payload_type, durability="os")


def drain(root: Path, url: str, processes: int, events: int, sleep_seconds: float = 0.0) -> float:
    """Return the rate at which so many processes handle a backlog, from their first look to the last result."""
    with _queue(root, url) as queue:
        for start in range(0, events, 1000):
            queue.publish_many([PAYLOAD] * min(1000, events - start))
        command = [sys.executable, "-c", WORKER, str(root), url, str(sleep_seconds)]
        running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(processes)]
        try:
            for each in running:
                each.stdout.readline()
            started = time.perf_counter()
            for each in running:
                each.stdin.write(b"go\n")
                each.stdin.flush()
            pause = threading.Event()
            while not (groups := queue.groups()) or groups[0].lag:
                pause.wait(PAUSE_SECONDS)
            return events / (time.perf_counter() - started)
        finally:
            for each in running:
                each.communicate(b"\n")


def raw_drain(server: RedisServer, events: int) -> float:
    """Return the rate of XREADGROUP by hundreds and XACK by hundreds."""
    client = redis.Redis(port=server.port)
    client.delete("raw")
    client.xgroup_create("raw", "g", "0", mkstream=True)
    pipeline = client.pipeline(transaction=False)
    for number in range(events):
        pipeline.xadd("raw", {"d": json.dumps(PAYLOAD)})
        if number % 1000 == 999:
            pipeline.execute()
    pipeline.execute()
    started, got = time.perf_counter(), 0
    while got < events:
        ((_, items),) = client.xreadgroup("g", "c", {"raw": ">"}, count=100)
        for _, fields in items:
            json.loads(fields[b"d"])
        client.xack("raw", "g", *[each for each, _ in items])
        got += len(items)
    return events / (time.perf_counter() - started)


def one_worker(directory: Path, server: RedisServer, events: int) -> None:
    """One worker that drains a backlog."""
    works: dict[str, Callable[[int], float]] = {
        "group on files": lambda n: drain(directory / f"files{n}", "", 1, events),
        "group with Redis": lambda n: drain(directory / "redis", server.url, 1, events),
        "raw XREADGROUP + XACK by hundreds": lambda n: raw_drain(server, events),
    }
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS):
        for name, work in works.items():
            found[name].append(work(number))
    rates = {name: statistics.median(each) for name, each in found.items()}
    peers = {name: make(directory / name.replace(" ", ""), PEER_EVENTS) for name, make in DRAINS.items()}
    raw, best = rates["raw XREADGROUP + XACK by hundreds"], max(peers.values())
    print(f"\ndraining a backlog of {events} events, one worker, results kept, median of {ROUNDS}")
    for name, each in {**rates, **peers}.items():
        print(f"  {name:36} {each:>10,.0f}/s   {each / raw:5.2f} x raw   {each / best:6.1f} x the best peer")
    print("  (wanted: 1 x raw, 20 x the best acknowledging library)")


def together(directory: Path, server: RedisServer, events: int) -> None:
    """Four workers against one."""
    print("\nfour worker processes against one, median of 3")
    cases = (("a handler that does nothing", 0.0, events * 4, 1.4), ("a handler that sleeps 1 ms", 0.001, 8000, 3.5))
    for kind, url in (("files", ""), ("Redis", server.url)):
        for title, sleep_seconds, count, wanted in cases:
            rates: dict[int, list[float]] = {1: [], 4: []}
            for number in range(3):
                for processes, found in rates.items():
                    root = directory / (f"together{sleep_seconds}{number}{processes}" if not url else "redis")
                    found.append(drain(root, url, processes, count, sleep_seconds))
            one, four = (statistics.median(each) for each in rates.values())
            print(f"  {kind}, {title:30} {one:>9,.0f}/s   {four:>9,.0f}/s   {four / one:.2f} x   (wanted {wanted})")


def far_behind(directory: Path, server: RedisServer, events: int) -> None:
    """How long a new group that begins so many events behind takes until its first event is handled."""
    print(f"\na group that begins {events} events behind (wanted: 0.1 s)")
    for kind, url in (("files", ""), ("Redis", server.url)):
        handled = threading.Event()
        with _queue(directory / f"behind-{kind}", url, int, "behind") as queue:
            for start in range(0, events, 10_000):
                queue.publish_many([1] * min(10_000, events - start))
            started = time.perf_counter()
            queue.subscribe(lambda event, handled=handled: handled.set(), group="behind", from_index=1)
            handled.wait()
            print(f"  {kind}: its first event is handled after {(time.perf_counter() - started) * 1000:.1f} ms")


def run(directory: Path, events: int, behind: int) -> None:
    """Print everything about groups."""
    with RedisServer() as server:
        one_worker(directory, server, events)
        together(directory, server, events)
        far_behind(directory, server, behind)
