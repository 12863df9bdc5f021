"""The file queue beside the embedded peers."""

from __future__ import annotations

import random
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.handling import Handling, on_queue, p50_and_p99
from benchmarks.measure import PAYLOAD, ROUNDS, median_rates, milliseconds, rate, repeat
from benchmarks.peers import PEERS
from eventy_sync import FileEventQueue


def publishing(directory: Path, events: int) -> None:
    """One caller, against the peers."""
    with FileEventQueue[Any](directory / "ours", payload_type=dict, durability="os") as queue:
        works = {
            "eventy_sync publish": repeat(events, lambda: queue.publish(PAYLOAD)),
            "eventy_sync publish_many(100)": repeat(events // 100, lambda: queue.publish_many([PAYLOAD] * 100)),
        }
        for name, make in PEERS.items():
            put = make(directory / name)
            works[name] = repeat(events, lambda put=put: put(PAYLOAD))
        rates = median_rates(events, works)
    fastest = max(rates[name] for name in PEERS)
    print(f"\npublish, one caller, durability os, {events} events, median of {ROUNDS}")
    for name, each in sorted(rates.items(), key=lambda item: -item[1]):
        print(f"  {name:32} {each:>10,.0f}/s   {each / fastest:6.2f} x the fastest peer")


PUBLISHER = """
import sys
from eventy_sync import FileEventQueue
payload = {"message": "hello world", "n": 12345, "user": "alice", "text": "x" * 120}
with FileEventQueue(sys.argv[1], payload_type=dict, durability="os") as queue:
    queue.publish(payload)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(sys.argv[2])):
        queue.publish(payload)
    print("done", flush=True)
"""


def together(root: Path, processes: int, events: int) -> float:
    """Return the rate of several processes that publish to one root."""
    command = [sys.executable, "-c", PUBLISHER, str(root), str(events // processes)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(processes)]
    for each in running:
        each.stdout.readline()

    def work() -> None:
        for each in running:
            each.stdin.write(b"\n")
            each.stdin.flush()
        for each in running:
            each.stdout.readline()

    try:
        return rate(events, work)
    finally:
        for each in running:
            each.communicate()


def processes(directory: Path, events: int) -> None:
    """Four processes against one."""
    ones, fours = [], []
    for number in range(ROUNDS):
        ones.append(together(directory / f"one{number}", 1, events))
        fours.append(together(directory / f"four{number}", 4, events))
    one, four = statistics.median(ones), statistics.median(fours)
    print(f"\none root, {events} events in all")
    print(f"  one process {one:,.0f}/s, four together {four:,.0f}/s: {four / one:.2f} x")


def history(directory: Path, events: int) -> None:
    """What a long history costs."""
    chance = random.Random(1)
    with FileEventQueue[Any](directory / "long", payload_type=dict, durability="os") as queue:
        for _ in range(events // 1000):
            queue.publish_many([PAYLOAD] * 1000)
    queue = FileEventQueue[Any](directory / "long", payload_type=dict, durability="os")
    started = time.perf_counter()
    queue.open()
    print(f"\nwith {events} events in the log")
    print(f"  open                {(time.perf_counter() - started) * 1000:8.3f} ms")
    with queue, FileEventQueue[Any](directory / "empty", payload_type=dict, durability="os") as empty:
        print(f"  get_event           {milliseconds(lambda: queue.get_event(chance.randint(1, events))):8.3f} ms")
        at = queue.get_event(events // 2).created_at
        until = at + timedelta(seconds=10)
        print(f"  page by time        {milliseconds(lambda: queue.search_events(None, 100, at, until)):8.3f} ms")
        print(f"  count_events        {milliseconds(queue.count_events):8.3f} ms")
        rates = median_rates(
            20_000,
            {name: repeat(20_000, lambda q=q: q.publish(PAYLOAD)) for name, q in (("long", queue), ("empty", empty))},
        )
        ratio = rates["long"] / rates["empty"]
        print(f"  publish             {rates['long']:8,.0f}/s, {ratio:.2f} x that of an empty queue")
        count = min(events, 300_000)
        read = rate(count, lambda: deque(islice(queue.iter_events(), count), maxlen=0))
        print(f"  reading             {read:8,.0f}/s, checksum and decoding included")


def latency(directory: Path, events: int = 1000) -> None:
    """From publish to the handler in another process."""
    root = directory / "latency"
    with FileEventQueue[Any](root, payload_type=dict) as queue:
        program = on_queue("FileEventQueue(sys.argv[1], payload_type=dict)")
        with Handling(program, [str(root)], queue.publish) as handling:
            p50, p99 = p50_and_p99(handling.handled_after(events))
    print(f"\npublish to handler in another process, 500 events/s: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def idle(directory: Path, seconds: float = 5.0) -> None:
    """What a worker takes that has nothing to do."""
    with FileEventQueue[Any](directory / "idle", payload_type=dict) as queue:
        queue.subscribe(lambda event: None)
        queue.publish({})
        pause = threading.Event()
        pause.wait(2.0)
        before = time.process_time()
        pause.wait(seconds)
        used = (time.process_time() - before) / seconds * 100
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"idle worker: {used:.2f} % of a core (this process at most {peak:.0f} MiB, its peers included)")


def run(directory: Path, events: int, history_events: int) -> None:
    """Print everything about the file queue."""
    publishing(directory, events)
    processes(directory, events * 2)
    latency(directory)
    idle(directory)
    history(directory, history_events)
