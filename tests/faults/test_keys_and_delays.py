"""Keys among processes and their deaths, and delayed events whose workers are killed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pytest

from eventy_sync import FileEventQueue

Spawn = Callable[..., "subprocess.Popen[str]"]
Wait = Callable[..., None]

RACER = """
    import sys
    from eventy_sync import FileEventQueue

    with FileEventQueue(sys.argv[1], payload_type=dict, segment_bytes=4096) as queue:
        print("ready", flush=True)
        sys.stdin.readline()
        print(*(queue.publish({"by": sys.argv[2]}, key=f"k{n}").id for n in range(40)), flush=True)
"""


def pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def test_sixteen_processes_that_race_publish_each_key_once(root: Path, spawn_python: Spawn) -> None:
    """All are told the same events, and read the same payloads."""
    racers = [spawn_python(RACER, root, number) for number in range(16)]
    for each in racers:
        assert pipe(each.stdout).readline() == "ready\n"
    for each in racers:
        pipe(each.stdin).write("\n")
        pipe(each.stdin).flush()
    told = []
    for each in racers:
        output, errors = each.communicate(timeout=120)
        assert errors == ""
        told.append(output.split())
    assert all(each == told[0] for each in told)
    with FileEventQueue(root, payload_type=dict) as queue:
        assert {event.key: str(event.id) for event in queue.iter_events()} == {
            f"k{n}": event_id for n, event_id in enumerate(told[0])
        }
        assert queue.count_events() == 40


DYING = """
    import os, signal, sys
    from eventy_sync import FileEventQueue
    from eventy_sync.storage.state.keys import KeyTable

    steps = 0

    def step():
        global steps
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    def trap(owner, name):
        real = getattr(owner, name)

        def call(*arguments, **options):
            step()
            result = real(*arguments, **options)
            step()
            return result

        setattr(owner, name, call)

    with FileEventQueue(sys.argv[1], payload_type=dict, segment_bytes=1024, durability="fsync") as queue:
        trap(KeyTable, "note")
        trap(os, "write")
        trap(os, "fsync")
        for n in range(20):
            print(queue.publish({"n": n}, key=f"k{n}").id, flush=True)
            queue.publish({"n": n})
    print("through", flush=True)
"""


def test_death_at_each_step_leaves_one_event_for_each_key(root: Path, tmp_path: Path, spawn_python: Spawn) -> None:
    """Before and after the book, the write and the sync: what was acknowledged is found, the rest is published once."""
    for step in range(1, 400, 7):
        at = tmp_path / str(step)
        child = spawn_python(DYING, at, step)
        output, errors = child.communicate(timeout=60)
        acknowledged = [int(each) for each in output.split() if each.isdigit()]
        with FileEventQueue(at, payload_type=dict) as queue:
            again = [queue.publish({"n": "again"}, key=f"k{n}").id for n in range(20)]
            assert again[: len(acknowledged)] == acknowledged
            keys = [event.key for event in queue.iter_events() if event.key is not None]
            assert sorted(keys) == sorted(f"k{n}" for n in range(20))
        if output.endswith("through\n"):
            assert step > 100
            return
        assert (child.returncode, errors) == (-9, "")
    raise AssertionError("the work never got through")


WORKER = """
    import sys
    from datetime import datetime, timezone
    from eventy_sync import FileEventQueue
    from eventy_sync.file.running import serve_until_signalled

    options = {"group": "billing", "lease_seconds": 1.0} if sys.argv[2] == "group" else {}
    queue = FileEventQueue(sys.argv[1], payload_type=dict)

    @queue.subscriber(from_index=1, **options)
    def handle(event):
        print(event.id, datetime.now(timezone.utc).isoformat(), flush=True)

    def on_open():
        queue.wait_until_idle(20)
        print("idle", flush=True)

    serve_until_signalled(queue, on_open=on_open)  # signals count from before the first event is handed out
"""


Handed = dict[int, list[datetime]]


def next_handed(worker: subprocess.Popen[str], handed: Handed) -> None:
    """Read the next event that a worker hands out, and add when that was."""
    while (line := pipe(worker.stdout).readline()) == "idle\n":
        continue
    note_handed(line, handed)


def note_handed(line: str, handed: Handed) -> None:
    """Add what a worker says it has handed out."""
    event_id, at = line.split()
    handed.setdefault(int(event_id), []).append(datetime.fromisoformat(at))


def publish_delayed(queue: FileEventQueue[Any], seconds: list[float]) -> dict[int, datetime]:
    """Publish events with these delays; return when they are due, by id."""
    events = [queue.publish({"n": n}, delay_seconds=each) for n, each in enumerate(seconds)]
    return {event.id: event.deliver_at for event in events if event.deliver_at is not None}


def early(handed: Handed, due: dict[int, datetime]) -> list[int]:
    return [event_id for event_id in due if min(handed[event_id]) < due[event_id]]


@pytest.mark.parametrize("kind", ["broadcast", "group"])
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_delayed_events_survive_the_end_of_their_worker(
    root: Path, spawn_python: Spawn, kind: str, ending: signal.Signals
) -> None:
    """It has passed them all by and is ended before they are due; none is lost, none is early."""
    with FileEventQueue[Any](root) as queue:
        first = spawn_python(WORKER, root, kind)
        assert pipe(first.stdout).readline() == "idle\n"
        due = publish_delayed(queue, [2.0 + n * 0.02 for n in range(20)])
        assert len(due) == 20
        handed: Handed = {}
        queue.publish({"n": "now"})
        while 21 not in handed:
            next_handed(first, handed)  # on a slow machine others may be due by then
        first.send_signal(ending)
        first.wait(20)
        for line in pipe(first.stdout):  # what it has handled meanwhile
            note_handed(line, handed)
        second = spawn_python(WORKER, root, kind)
        while len(handed) < 21:
            next_handed(second, handed)
        assert early(handed, due) == []
        second.terminate()
        second.communicate(timeout=20)
        assert second.returncode == 0


@pytest.mark.parametrize("kind", ["broadcast", "group"])
def test_workers_that_are_killed_again_and_again_lose_no_delayed_event(
    root: Path, spawn_python: Spawn, kind: str
) -> None:
    """While events are due all the time; whoever is there last hands out the rest."""
    with FileEventQueue[Any](root) as queue:
        due = publish_delayed(queue, [0.5 + n * 37 % 60 * 0.05 for n in range(60)])
        handed: Handed = {}
        for _ in range(5):
            worker = spawn_python(WORKER, root, kind)
            for _ in range(6):
                next_handed(worker, handed)
            worker.kill()
            for line in pipe(worker.stdout):
                if line.endswith("+00:00\n") and line != "idle\n":
                    handed.setdefault(int(line.split()[0]), []).append(datetime.fromisoformat(line.split()[1]))
        last = spawn_python(WORKER, root, kind)
        while len(handed) < 60:
            next_handed(last, handed)
        assert early(handed, due) == []
