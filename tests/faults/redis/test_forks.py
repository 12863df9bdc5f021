"""Processes forked from one that has the queue open."""

from __future__ import annotations

from pathlib import Path

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Spawn


def test_a_forked_child_has_connections_of_its_own(
    make: Make, server: RedisServer, spawn_python: Spawn, tmp_path: Path
) -> None:
    """Parent and child publish at once, as after a preload; neither takes the other's replies."""
    forked = """
        import os, sys
        from eventy_sync.redis import RedisFileEventQueue

        with RedisFileEventQueue(sys.argv[1], name="orders", payload_type=dict, redis_url=sys.argv[2]) as queue:
            seen = []
            queue.subscribe(lambda event: seen.append(event.id))
            queue.publish({"by": "parent"})
            worker_id = queue.worker_id
            children = []
            for _ in range(3):
                if (pid := os.fork()) == 0:
                    assert queue.worker_id != worker_id
                    for n in range(50):
                        queue.publish({"by": "child"})
                    queue.close()
                    os._exit(0)
                children.append(pid)
            for n in range(50):
                queue.publish({"by": "parent"})
            for pid in children:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert queue.wait_until_idle(20)
            assert seen == list(range(1, 202)), seen
        print("through")
    """
    output, errors = spawn_python(forked, tmp_path / "a", server.url).communicate(timeout=60)
    assert (output, errors) == ("through\n", "")
