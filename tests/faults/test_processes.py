"""Many processes and threads on one root; forks at the worst moment; endings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import FileEventQueue

Spawn = Callable[..., "subprocess.Popen[str]"]

PUBLISHER = """
    import sys, threading
    from eventy_sync import FileEventQueue

    def publish(thread):
        for n in range(100):
            queue.publish({"by": sys.argv[2], "thread": thread, "n": n})

    with FileEventQueue(sys.argv[1], payload_type=dict, segment_bytes=16384) as queue:
        threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
"""


def test_eight_processes_of_four_threads_publish_together(root: Path, spawn_python: Spawn) -> None:
    """Every event is there once, ids run on, and each publisher's events keep their order."""
    publishers = [spawn_python(PUBLISHER, root, number) for number in range(8)]
    for publisher in publishers:
        _, errors = publisher.communicate(timeout=120)
        assert publisher.returncode == 0, errors
    with FileEventQueue(root, payload_type=dict) as queue:
        events = list(queue.iter_events())
        assert [event.id for event in events] == list(range(1, 3201))
        for by in range(8):
            for thread in range(4):
                mine = [e.payload["n"] for e in events if (e.payload["by"], e.payload["thread"]) == (str(by), thread)]
                assert mine == list(range(100))


SUBSCRIBER = """
    import sys
    from eventy_sync import FileEventQueue

    seen = []
    with FileEventQueue(sys.argv[1], payload_type=dict) as queue:
        print("ready", flush=True)
        for event in queue.iter_events(1, follow=True, timeout=20):
            seen.append(event.id)
            if event.payload.get("last"):
                break
    print(seen == list(range(1, len(seen) + 1)), len(seen), flush=True)
"""


def test_subscribers_in_other_processes_see_all_through_rotation(root: Path, spawn_python: Spawn) -> None:
    """Events published by one process reach the others, in order, across segments."""
    with FileEventQueue(root, payload_type=dict, segment_bytes=2048) as queue:
        readers = [spawn_python(SUBSCRIBER, root) for _ in range(2)]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        for n in range(500):
            queue.publish({"n": n})
        queue.publish({"last": True})
        for reader in readers:
            output, errors = reader.communicate(timeout=60)
            assert output == "True 501\n", errors


FORKER = """
    import os, sys, threading
    from eventy_sync import FileEventQueue

    stopping = threading.Event()
    queue = FileEventQueue(sys.argv[1], payload_type=dict)

    def hammer(n):
        while not stopping.is_set():
            queue.publish({"n": n})
            queue.create_claim(f"claim-{n}")
            queue.release_claim(f"claim-{n}")
            queue.count_results()

    with queue:
        queue.subscribe(lambda event: None)
        queue.create_claim("parent's")
        parent_id = queue.get_worker_id()
        threads = [threading.Thread(target=hammer, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for number in range(20):
            pid = os.fork()
            if pid == 0:
                try:
                    ok = queue.get_worker_id() != parent_id
                    ok = ok and queue.publish({"child": number}).id > 0
                    ok = ok and not queue.create_claim("parent's") and not queue.release_claim("parent's")
                    ok = ok and queue.create_claim(f"child-{number}")
                    ok = ok and threading.active_count() <= 2
                    queue.close()
                    os._exit(0 if ok else 1)
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    os._exit(2)
            assert os.waitpid(pid, 0)[1] == 0, number
        stopping.set()
        for thread in threads:
            thread.join()
        assert queue.wait_until_idle(30)
        children = {event.payload["child"] for event in queue.iter_events() if "child" in event.payload}
        assert children == set(range(20)), children
        assert queue.get_claim("parent's").worker_id == parent_id
        assert queue.verify().damages == []
    print("done")
"""


def test_fork_while_other_threads_hold_every_lock(root: Path, spawn_python: Spawn) -> None:
    """The child has fresh locks, another worker id, none of the parent's claims, and can publish at once."""
    process = spawn_python(FORKER, root)
    output, errors = process.communicate(timeout=120)
    assert output == "done\n", errors


ENDING = """
    import sys, atexit
    from eventy_sync import FileEventQueue

    queue = FileEventQueue(sys.argv[1], payload_type=dict)
    queue.open()
    queue.subscribe(lambda event: None)
    atexit.register(queue.close)
    queue.publish({})
    queue.create_claim("mine")
    print("published", flush=True)
"""


def test_a_queue_left_open_is_closed_at_exit(root: Path, spawn_python: Spawn) -> None:
    """The interpreter ends without a hang or a message, and claims are given back."""
    process = spawn_python(ENDING, root)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "published\n", "")
    with FileEventQueue(root, payload_type=dict) as queue:
        assert (queue.count_events(), queue.count_claims()) == (1, 0)


WORKER = """
    import sys
    from eventy_sync import FileEventQueue

    queue = FileEventQueue(sys.argv[1], payload_type=dict)

    @queue.subscriber(from_index=1)
    def handle(event):
        print("handled", event.id, flush=True)
        if event.payload.get("slow"):
            import threading
            threading.Event().wait(1.0)
            print("finished", event.id, flush=True)

    queue.run()
    print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_lets_the_handler_finish_at_the_first_signal(
    root: Path, spawn_python: Spawn, number: signal.Signals
) -> None:
    """A worker drains at SIGTERM and SIGINT alike."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.publish({"slow": True})
    process = spawn_python(WORKER, root)
    assert process.stdout is not None
    assert process.stdout.readline() == "handled 1\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert (output, errors, process.returncode) == ("finished 1\nstopped\n", "", 0)
    with FileEventQueue(root, payload_type=dict) as queue:
        assert queue.wait_for_result(1, timeout=0).success


def test_publishing_alone_starts_no_thread_but_the_one_that_syncs(root: Path) -> None:
    """A web process that only publishes can fork safely."""
    before = threading.active_count()
    with FileEventQueue(root, payload_type=dict, durability="os") as queue:
        queue.publish({})
        assert threading.active_count() == before
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.publish({})
        extra = {each.name for each in threading.enumerate() if each.name.startswith("eventy-")}
        assert extra == {"eventy-orders-sync"}


@pytest.mark.skipif(os.geteuid() == 0 and sys.platform != "linux", reason="root may write anywhere")
def test_a_full_disk_refuses_and_loses_nothing(root: Path, spawn_python: Spawn) -> None:
    """ENOSPC from a real full file system is one clear error, and what was there stays."""
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", root.parent], check=False).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    try:
        code = """
            import sys
            from eventy_sync import FileEventQueue, StorageError
            with FileEventQueue(sys.argv[1], payload_type=dict, durability="os") as queue:
                count = 0
                try:
                    while True:
                        queue.publish_many([{"n": "x" * 100}] * 7)
                        count += 7
                except StorageError as exc:
                    assert "nothing was written" in str(exc), exc
                    assert [e.id for e in queue.iter_events()] == list(range(1, count + 1))
                    print("refused")
        """
        process = spawn_python(code, root)
        output, errors = process.communicate(timeout=60)
        assert output == "refused\n", errors
    finally:
        subprocess.run(["umount", root.parent], check=True)
