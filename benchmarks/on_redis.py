"""The Redis queue beside raw redis-py on the same server, in turn within one run."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis

from benchmarks.handling import Handling, on_queue, p50_and_p99
from benchmarks.measure import PAYLOAD, median_rates, repeat
from eventy_sync import RedisFileEventQueue
from eventy_sync.redis.server import RedisServer

THREADS = 8
ROUNDS = 10
"""Of a second or less, for a machine's speed changes by the second; but eight threads take a while to begin and end."""
CATCH_UP_EVENTS = 100_000


def queue_at(directory: Path, server: RedisServer, name: str = "bench", **fields: Any) -> RedisFileEventQueue[Any]:
    """Return a root of a queue."""
    return RedisFileEventQueue[Any](
        directory, payload_type=dict, name=name, redis_url=server.url, durability="os", **fields
    )


def in_threads(count: int, call: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls so often, from `THREADS` threads together."""

    def work() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            for each in [pool.submit(repeat(count // THREADS, call)) for _ in range(THREADS)]:
                each.result()

    return work


def compare(title: str, count: int, ours: Callable[[], object], raw: Callable[[], object], wanted: float) -> None:
    """Print the ratio of two rates."""
    rates = median_rates(count, {"ours": ours, "raw": raw}, ROUNDS)
    print(
        f"  {title:44} {rates['ours']:>10,.0f}/s   raw {rates['raw']:>10,.0f}/s"
        f"   {rates['ours'] / rates['raw']:5.2f} x   (wanted {wanted})"
    )


def publishing(directory: Path, server: RedisServer, events: int) -> None:
    """Publishing against XADD."""
    client = redis.Redis(port=server.port)

    def xadd() -> None:
        client.xadd("raw", {"d": json.dumps(PAYLOAD)}, maxlen=10_000, approximate=True)

    def xadd_100() -> None:
        pipeline = client.pipeline(transaction=False)
        for _ in range(100):
            pipeline.xadd("raw", {"d": json.dumps(PAYLOAD)}, maxlen=10_000, approximate=True)
        pipeline.execute()

    with queue_at(directory / "publishing", server) as queue:

        def publish() -> None:
            queue.publish(PAYLOAD)

        compare("publish, one caller, to XADD", events, repeat(events, publish), repeat(events, xadd), 1)
        compare("publish, 8 threads, to XADD by 8", events, in_threads(events, publish), in_threads(events, xadd), 3)
        hundreds = events // 100
        compare(
            "publish_many(100), to pipelined XADD",
            hundreds * 100,
            repeat(hundreds, lambda: queue.publish_many([PAYLOAD] * 100)),
            repeat(hundreds, xadd_100),
            1,
        )


def claiming(directory: Path, server: RedisServer, claims: int) -> None:
    """Taking claims against SET NX."""
    client = redis.Redis(port=server.port)
    ours, theirs = itertools.count(), itertools.count()
    with queue_at(directory / "claiming", server, "claiming") as queue:
        compare(
            "create_claim, to SET NX PX",
            claims,
            repeat(claims, lambda: queue.create_claim(f"claim-{next(ours)}")),
            repeat(claims, lambda: client.set(f"raw-{next(theirs)}", "worker", nx=True, px=300_000)),
            0.8,
        )


RAW_HANDLER = """
import json, os, sys, threading, time
import redis
client = redis.Redis.from_url(sys.argv[1], socket_timeout=None)
group = str(os.getpid())
client.xgroup_create("raw-latency", group, mkstream=True)
seen = []

def handle():
    while True:
        [(_, [(name, fields)])] = client.xreadgroup(group, "c", {"raw-latency": ">"}, count=1, block=0)
        seen.append(time.time() - json.loads(fields[b"d"])["t"])
        client.xack("raw-latency", group, name)

threading.Thread(target=handle, daemon=True).start()
print("ready", flush=True)
for _ in sys.stdin:
    print(*seen, flush=True)
    seen.clear()
"""
HANDLER = on_queue(
    'RedisFileEventQueue(sys.argv[1], payload_type=dict, name=sys.argv[2], redis_url=sys.argv[3], durability="os")'
)


def handled_in_turn(kinds: dict[str, Any], rounds: int, events: int) -> dict[str, list[float]]:
    """Return how many seconds after they were published events were handled, by processes that are started for it."""
    found: dict[str, list[float]] = {name: [] for name in kinds}
    with ExitStack() as stack:
        handlings = {name: stack.enter_context(Handling(*kind)) for name, kind in kinds.items()}
        for each in handlings.values():
            each.handled_after(10)
        for _ in range(rounds):
            for name, each in handlings.items():
                found[name] += each.handled_after(events)
    return found


def latency(directory: Path, server: RedisServer, starts: int = 4, rounds: int = 20, events: int = 25) -> None:
    """From publish to the handler in another process, started anew and taken in turn a few times.

    A machine's speed changes by the second, and each process has more or less luck with its place in the caches.
    """
    client = redis.Redis(port=server.port)
    with (
        queue_at(directory / "alone", server, "alone") as alone,
        queue_at(directory / "here", server, "shared") as shared,
    ):

        def xadd(payload: Any) -> None:
            client.xadd("raw-latency", {"d": json.dumps(payload)})

        kinds = {
            "raw XREADGROUP BLOCK": (RAW_HANDLER, [server.url], xadd),
            "same root": (HANDLER, [str(directory / "alone"), "alone", server.url], alone.publish),
            "another root": (HANDLER, [str(directory / "there"), "shared", server.url], shared.publish),
        }
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(starts):
            for name, seconds in handled_in_turn(kinds, rounds, events).items():
                found[name] += seconds
    raw, _ = p50_and_p99(found["raw XREADGROUP BLOCK"])
    print("  publish to handler in another process, 500 events/s (wanted: 1.5 x on the same root, 2 x on another)")
    for name, seconds in found.items():
        p50, p99 = p50_and_p99(seconds)
        print(f"    {name:42} p50 {p50:5.2f} ms, p99 {p99:5.2f} ms   {p50 / raw:5.2f} x")


def catching_up(directory: Path, server: RedisServer) -> None:
    """A root that was away gets what it missed from another."""
    with queue_at(directory / "peer", server, "away") as peer, queue_at(directory / "away", server, "away") as away:
        away.publish(PAYLOAD)
        away.close()
        peer.subscribe(lambda event: None)
        for _ in range(CATCH_UP_EVENTS // 1000):
            peer.publish_many([PAYLOAD] * 1000)
        started = time.perf_counter()
        away.open()
        assert away.count_events() == CATCH_UP_EVENTS + 1
        print(f"  catch-up of {CATCH_UP_EVENTS} events from a peer: {time.perf_counter() - started:.2f} s (wanted: 10)")


def idle(directory: Path, server: RedisServer, seconds: float = 10.0) -> None:
    """What a worker takes that has nothing to do."""
    with queue_at(directory / "idle", server, "idle") as queue:
        queue.subscribe(lambda event: None)
        queue.publish({})
        pause = threading.Event()
        pause.wait(2.0)
        before = time.process_time()
        pause.wait(seconds)
        print(f"  idle worker: {(time.process_time() - before) / seconds * 100:.2f} % of a core (wanted: 0.5)")


def run(directory: Path, events: int) -> None:
    """Print everything about the Redis queue."""
    with RedisServer() as server:
        told = server.command("INFO", "server")
        version = told.get("valkey_version") or told["redis_version"]
        print(f"\nbeside raw redis-py {redis.__version__}, server {version}")
        publishing(directory, server, events // 2)
        claiming(directory, server, events // 8)
        latency(directory, server)
        catching_up(directory, server)
        idle(directory, server)
