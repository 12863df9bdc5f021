"""Publishers that are killed between any two steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Spawn, Wait

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
