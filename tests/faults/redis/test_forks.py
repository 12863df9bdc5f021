"""Processes forked from one that has the queue open."""

from __future__ import annotations

from pathlib import Path

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Spawn, Wait


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


PRELOADED = """
    import os, sys, threading
    from eventy_sync.redis import RedisFileEventQueue

    def say(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once: three processes share the pipe

    def watch(queue):
        seen, done = [], threading.Event()

        def handler(event):
            seen.append(event.id)
            if event.payload["n"] == "last":
                done.set()

        queue.subscribe(handler, from_index=queue.health()["tail"] + 1)
        return seen, done

    def report(name, queue, seen, done):
        assert done.wait(30), seen
        say("seen", name, *seen)

    with RedisFileEventQueue(sys.argv[1], name="orders", payload_type=dict, redis_url=sys.argv[2]) as queue:
        seen, done = watch(queue)
        queue.publish({"n": "first"})
        say("worker", queue.worker_id)
        children = []
        for number in range(2):
            if (pid := os.fork()) == 0:
                seen, done = watch(queue)
                say("worker", queue.worker_id)
                queue.publish({"n": "child"})
                report("child", queue, seen, done)
                queue.close()
                os._exit(0)
            children.append(pid)
        report("parent", queue, seen, done)
        for pid in children:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    say("through")
"""


def test_after_a_preload_parent_and_children_each_see_all(
    make: Make, server: RedisServer, spawn_python: Spawn, tmp_path: Path, wait_until: Wait
) -> None:
    """The parent delivers, forks, and goes on delivering; the children deliver too, each on a connection of its own."""
    with make("b") as b:
        b.subscribe(lambda event: None)
        parent = spawn_python(PRELOADED, tmp_path / "a", server.url)
        wait_until(lambda: b.count_events() == 3)
        channel = "eventy:orders:events"
        wait_until(lambda: server.command("PUBSUB", "NUMSUB", channel)[1] == 4)
        for number in range(50):
            b.publish({"n": number})
        b.publish({"n": "last"})
        output, errors = parent.communicate(timeout=60)
        assert errors == ""
        lines = [line.split() for line in output.splitlines()]
        assert lines[-1] == ["through"]
        assert len({line[1] for line in lines if line[0] == "worker"}) == 3
        seen = {index: [int(each) for each in line[2:]] for index, line in enumerate(lines) if line[0] == "seen"}
        assert len(seen) == 3
        for ids in seen.values():
            assert ids == list(range(ids[0], 55))
        assert max(map(len, seen.values())) == 54
        assert all(len(ids) >= 51 for ids in seen.values())


def test_a_child_that_is_killed_takes_nothing_from_its_parent(
    make: Make, server: RedisServer, spawn_python: Spawn, tmp_path: Path
) -> None:
    """Whatever it was doing: the parent's connections, locks and events are its own."""
    killed = """
        import os, signal, sys
        from eventy_sync.redis import RedisFileEventQueue

        with RedisFileEventQueue(sys.argv[1], name="orders", payload_type=dict, redis_url=sys.argv[2]) as queue:
            seen = []
            queue.subscribe(lambda event: seen.append(event.id))
            for round in range(5):
                queue.publish({"by": "parent"})
                if (pid := os.fork()) == 0:
                    queue.create_claim(f"claim {round}", ttl_seconds=60)
                    while True:
                        queue.publish({"by": "child"})
                tail = queue.health()["tail"]
                for _ in queue.iter_events(tail + 1, follow=True, timeout=20):
                    break
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                assert queue.publish({"by": "parent"}).id > tail
            assert queue.wait_until_idle(20)
            assert seen == list(range(1, queue.health()["tail"] + 1))
        print("through")
    """
    output, errors = spawn_python(killed, tmp_path / "a", server.url).communicate(timeout=60)
    assert [line for line in errors.splitlines() if "torn end cut" not in line] == []
    assert output == "through\n"
