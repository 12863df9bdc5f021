"""Publishers that are killed between any two steps."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Spawn, Wait, log_bytes, publish_when_possible

KILLS = int(os.environ.get("EVENTY_TEST_KILLS", "2"))

KILLED = """
    import os, signal, sys
    from eventy_sync.redis import RedisFileEventQueue
    from eventy_sync.redis.journal import Journal
    from eventy_sync.storage.log.writer import LogWriter

    root, url, by, kill_at = sys.argv[1:5]
    step = 0

    def before(cls, name):
        real = getattr(cls, name)

        def call(*arguments, **options):
            die()
            try:
                return real(*arguments, **options)
            finally:
                die()

        setattr(cls, name, call)

    def die():
        global step
        step += 1
        if step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url) as queue:
        before(Journal, "publish")
        before(LogWriter, "_write_locked")
        for n in range(4):
            print(queue.publish({"by": by, "n": n}).id, flush=True)
"""


@pytest.mark.parametrize("kill_at", range(1, 14))
def test_kill_9_between_the_steps_of_a_publish(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Spawn, wait_until: Wait, kill_at: int
) -> None:
    """No acknowledged event is lost, none is there twice, and both logs are equal."""
    with make("b") as b:
        b.subscribe(lambda event: None)
        b.publish({"by": "b", "n": -1})
        victim = spawn_python(KILLED, tmp_path / "a", server.url, "a", kill_at)
        output, _ = victim.communicate(timeout=60)
        acknowledged = [int(line) for line in output.split()]
        assert victim.returncode == -9
        with make("a") as a:
            a.publish({"by": "a", "n": 99})
            tail = a.health()["tail"]
            wait_until(lambda: b.health()["tail"] == tail)
            events = list(b.iter_events(2))
            assert [event.id for event in events] == list(range(2, tail + 1))
            mine = [event.payload["n"] for event in events]
            assert mine == [*range(len(mine) - 1), 99]
            assert len(mine) - 1 >= len(acknowledged)
            assert list(a.iter_events(2)) == events


PUBLISHER = """
    import itertools, sys
    from eventy_sync.redis import RedisFileEventQueue

    root, url, by = sys.argv[1:4]
    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url, segment_bytes=8192) as queue:
        for n in itertools.count():
            if n % 3:
                queue.publish({"by": by, "n": n})
            else:
                queue.publish_many([{"by": by, "n": n}] * 3)
            print(n, flush=True)
"""


def test_publishers_on_two_roots_that_are_killed_at_random(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Spawn, wait_until: Wait
) -> None:
    """No acknowledged event is lost, none is there twice, batches are whole, and both logs are equal."""
    randomly, pause = random.Random(), threading.Event()
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        acknowledged: Counter[tuple[str, int]] = Counter()
        for kill in range(KILLS):
            victims = {
                f"{root}{kill}{n}": spawn_python(PUBLISHER, tmp_path / root, server.url, f"{root}{kill}{n}")
                for root in "ab"
                for n in "12"
            }
            for victim in victims.values():
                assert victim.stdout is not None
                assert victim.stdout.readline() == "0\n"
            for victim in victims.values():
                pause.wait(randomly.uniform(0, 0.05))
                victim.kill()
            for by, victim in victims.items():
                output, errors = victim.communicate(timeout=60)
                assert [line for line in errors.splitlines() if "torn end cut" not in line] == []
                acknowledged.update((by, int(line)) for line in ["0", *output.split()])
        publish_when_possible(a, {"by": "a", "n": -1}, wait_until)
        publish_when_possible(b, {"by": "b", "n": -1}, wait_until)
        wait_until(lambda: log_bytes(a) == log_bytes(b))
        there = Counter((event.payload["by"], event.payload["n"]) for event in a.iter_events())
        assert set(acknowledged) <= set(there)
        assert all(count == (3 if n >= 0 and n % 3 == 0 else 1) for (_, n), count in there.items())
        wait_until(lambda: len(seen) == a.health()["tail"])
        assert seen == list(range(1, len(seen) + 1))
