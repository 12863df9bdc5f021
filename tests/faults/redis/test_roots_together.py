"""Roots on several hosts that publish together, and one that was away."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Spawn, Wait, log_bytes, numbers

PUBLISHER = """
    import sys
    from eventy_sync.redis import RedisFileEventQueue

    root, url, by = sys.argv[1:4]
    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url, segment_bytes=8192) as queue:
        queue.count_events()
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(150):
            if n % 10:
                queue.publish({"by": by, "n": n})
            else:
                queue.publish_many([{"by": by, "n": n}, {"by": by, "n": -n}])
"""


def test_three_roots_of_two_processes_each_publish_together(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Spawn, wait_until: Wait
) -> None:
    """All logs are equal byte for byte, ids run on, each subscriber sees all in order."""
    with make("a") as a, make("b") as b, make("c") as c:
        seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
        for name, queue in (("a", a), ("b", b), ("c", c)):
            queue.subscribe(lambda event, name=name: seen[name].append(event.id))
        publishers = [spawn_python(PUBLISHER, tmp_path / root, server.url, root + n) for root in "abc" for n in "12"]
        for publisher in publishers:
            assert publisher.stdout is not None
            assert publisher.stdout.readline() == "ready\n"
        for publisher in publishers:
            assert publisher.stdin is not None
            publisher.stdin.write("\n")
            publisher.stdin.flush()
        for publisher in publishers:
            _, errors = publisher.communicate(timeout=120)
            assert (publisher.returncode, errors) == (0, "")
        expected = list(range(1, 6 * 165 + 1))
        wait_until(lambda: all(each == expected for each in seen.values()))
        assert log_bytes(a) == log_bytes(b) == log_bytes(c)
        for by in ("a1", "b2"):
            mine = [event.payload["n"] for event in c.iter_events() if event.payload["by"] == by]
            assert [n for n in mine if n > 0] == list(range(1, 150))


def test_a_root_that_was_away_catches_up(make: Make, wait_until: Wait) -> None:
    """When it opens, when it publishes, and when it reads."""
    with make("a") as a, make("b") as b:
        a.publish({"n": 1})
    with make("a") as a:
        a.publish_many([{"n": number} for number in range(2, 300)])
    with make("b") as b:
        assert numbers(b) == list(range(1, 300))
        with make("a") as a:
            a.publish_many([{"n": number} for number in range(300, 900)])
            assert b.publish({"n": 900}).id == 900
            assert numbers(b) == list(range(1, 901))
            assert a.publish({"n": 901}).id == 901
            wait_until(lambda: numbers(b)[-1] == 901)
        assert log_bytes(a) == log_bytes(b)


def test_a_new_empty_root_starts_at_the_present(make: Make, wait_until: Wait) -> None:
    """Its first event has the queue's next id; earlier ones are not its business."""
    with make("a") as a:
        a.publish_many([{"n": number} for number in range(1, 6)])
        with make("b") as b:
            seen: list[int] = []
            b.subscribe(lambda event: seen.append(event.id))
            assert b.publish({"n": 6}).id == 6
            a.publish({"n": 7})
            wait_until(lambda: seen == [6, 7])
            assert numbers(b) == [6, 7]
            assert b.health()["gaps"] == 0
    with make("b") as b:
        assert numbers(b) == [6, 7]


WORKER = """
    import sys, threading
    from eventy_sync.redis import RedisFileEventQueue

    root, url, by, total = *sys.argv[1:4], int(sys.argv[4])
    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url, segment_bytes=8192) as queue:
        seen, done = [], threading.Event()

        def handler(event):
            seen.append(event.id)
            if event.id == total:
                done.set()

        queue.subscribe(handler, from_index=1)
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(60):
            queue.publish({"by": by, "n": n})
        assert done.wait(60), seen[-3:]
        assert seen == list(range(1, total + 1)), seen
        sys.stdin.readline()
"""


@pytest.mark.parametrize("roots", ["ab", "abc"])
def test_processes_that_publish_and_subscribe_on_several_roots_each_see_all(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Spawn, wait_until: Wait, roots: str
) -> None:
    """Two processes on each root: every subscriber of every process sees every event, in order; logs are equal."""
    names = [(root, number) for root in roots for number in (1, 2)]
    total = 60 * len(names)
    workers = [spawn_python(WORKER, tmp_path / root, server.url, f"{root}{n}", total) for root, n in names]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    with make("a") as a, make("b") as b:
        wait_until(lambda: a.count_events() == b.count_events() == total)
        for worker in workers:
            _, errors = worker.communicate("\n", timeout=60)
            assert (worker.returncode, errors) == (0, "")
        assert log_bytes(a) == log_bytes(b)
        for root, number in names:
            mine = [event.payload["n"] for event in a.iter_events() if event.payload["by"] == f"{root}{number}"]
            assert mine == list(range(60))
