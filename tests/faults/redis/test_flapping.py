"""A server that comes and goes all the time: nothing lost, nothing doubled, nothing grows."""

from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Queue, Wait, outcome, publish_when_possible, settle, wait_for_mode

FLAP_SECONDS = float(os.environ.get("EVENTY_TEST_FLAP_SECONDS", "6"))
PERIOD_SECONDS = 0.2


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0


def resident_kilobytes() -> int:
    """Return the most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_server_that_flaps_makes_nothing_grow_and_loses_nothing(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Away and back every 200 ms: threads, descriptors and memory stay as they were, subscribers see all in order."""
    with Proxy(server.port) as proxy, make("a", redis_url=proxy.url) as a, make("b", redis_url=proxy.url) as b:
        seen: list[int] = []
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: seen.append(event.id))
        publish_when_possible(a, {"n": "first of a"}, wait_until)
        publish_when_possible(b, {"n": "first of b"}, wait_until)
        calm = (threading.active_count(), open_descriptors())
        outcomes: dict[int, str] = {}
        stop = threading.Event()

        def publish(queue: Queue, number: int) -> None:
            while not stop.wait(0.002):
                outcomes[number] = outcome(queue, {"n": number})
                number += 2

        threads = [threading.Thread(target=publish, args=pair) for pair in ((a, 0), (b, 1))]
        for thread in threads:
            thread.start()
        before = flap(proxy, FLAP_SECONDS / 2)
        after = flap(proxy, FLAP_SECONDS / 2)
        stop.set()
        for thread in threads:
            thread.join()
        for queue in (a, b):
            wait_for_mode(queue, "connected", wait_until)
        there = settle(a, b, wait_until)
        assert after[0] - before[0] <= 4
        assert after[1] - before[1] <= 10
        assert after[2] - before[2] < 20_000
        wait_until(lambda: len(seen) == a.health()["tail"])
        assert seen == list(range(1, len(seen) + 1))
        assert len(set(there)) == len(there)
        assert {number for number, value in outcomes.items() if value == "published"} <= set(there)
        assert not {number for number, value in outcomes.items() if value == "refused"} & set(there)
        wait_until(lambda: threading.active_count() <= calm[0] and open_descriptors() <= calm[1] + 6)


def flap(proxy: Proxy, seconds: float) -> tuple[int, int, int]:
    """Refuse and accept in turn; at the end the server is there.

    Return the most threads, descriptors and kilobytes there were before it went: a connection is three descriptors
    here, and at one moment all of them may be open or none.
    """
    deadline, pause = time.monotonic() + seconds, threading.Event()
    threads = descriptors = 0
    while time.monotonic() < deadline:
        proxy.refuse()
        pause.wait(PERIOD_SECONDS / 2)
        proxy.accept()
        pause.wait(PERIOD_SECONDS / 2)
        threads, descriptors = max(threads, threading.active_count()), max(descriptors, open_descriptors())
    return threads, descriptors, resident_kilobytes()
