"""Publishers killed with -9 at random moments: what was acknowledged is there, ids have no gap and no repeat."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from eventy_sync import FileEventQueue

ROUNDS = int(os.environ.get("EVENTY_TEST_KILLS", "200"))

PUBLISHER = """
    import sys, threading
    from eventy_sync import FileEventQueue

    root, number = sys.argv[1], int(sys.argv[2])
    write_lock = threading.Lock()

    def publish(thread):
        count = 0
        while True:
            count += 1
            if count % 5 == 0:
                events = queue.publish_many([{"by": number, "n": count, "part": part} for part in range(3)])
            else:
                events = [queue.publish({"by": number, "n": count})]
            text = "".join(f"{event.id} {number}\\n" for event in events)
            with write_lock:
                sys.stdout.write(text)
                sys.stdout.flush()

    with FileEventQueue(root, payload_type=dict, durability="os", segment_bytes=4096) as queue:
        threads = [threading.Thread(target=publish, args=(n,), daemon=True) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
"""


def acknowledged_by(process: subprocess.Popen[str], chance: random.Random) -> dict[int, int]:
    """Read acknowledgements up to a random moment, kill, and return whole lines as id → publisher."""
    assert process.stdout is not None
    text = "".join(process.stdout.readline() for _ in range(chance.randrange(1, 40)))
    process.kill()
    text += process.stdout.read()
    process.wait()
    whole = text[: text.rindex("\n") + 1]
    return {int(line.split()[0]): int(line.split()[1]) for line in whole.splitlines()}


def test_kill_9_of_publishers_loses_no_acknowledged_event(
    root: Path, spawn_python: Callable[..., subprocess.Popen[str]]
) -> None:
    """Two publishers at a time, two threads each, killed again and again."""
    chance = random.Random(7)
    acknowledged: dict[int, int] = {}
    processes = [spawn_python(PUBLISHER, root, number) for number in range(2)]
    for number in range(2, ROUNDS + 2):
        found = acknowledged_by(processes.pop(0), chance)
        assert not acknowledged.keys() & found.keys(), "an id was given out twice"
        acknowledged |= found
        if number < ROUNDS:
            processes.append(spawn_python(PUBLISHER, root, number))
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.publish({"by": -1})
        events = list(queue.iter_events())
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        by_id = {event.id: event.payload["by"] for event in events}
        assert {event_id: by_id[event_id] for event_id in acknowledged} == acknowledged
        assert queue.verify().damages == []
    lines = b"".join(path.read_bytes() for path in sorted((root / "events").glob("*.log"))).splitlines()
    assert all(msgspec.json.decode(line[9:])["id"] for line in lines if line)


CLAIMANT = """
    import sys
    from eventy_sync import FileEventQueue

    with FileEventQueue(sys.argv[1], payload_type=dict) as queue:
        print(queue.create_claim("report", ttl_seconds=float(sys.argv[2])), flush=True)
        sys.stdin.read()
"""


def test_the_claim_of_a_killed_holder_expires(
    root: Path, spawn_python: Callable[..., subprocess.Popen[str]], wait_until: Callable[..., None]
) -> None:
    """A dead worker's claim is refused to others until its time is over, and free then."""
    holder = spawn_python(CLAIMANT, root, 1.0)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with FileEventQueue(root, payload_type=dict) as queue:
        holder.kill()
        holder.wait()
        assert not queue.create_claim("report")
        expires_at = queue.get_claim("report").expires_at
        wait_until(lambda: queue.create_claim("report"))
        assert queue.get_claim("report").created_at >= expires_at
