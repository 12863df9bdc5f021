"""Death at each step that changes the disk: of rotation, retention, repair, reset, and making a root.

The child process is killed with -9 just before its n-th system call that changes a file, for n from 1
until the work gets through.  Whatever was acknowledged by then must be there, and everything must go on.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import FileEventQueue, Retention, StorageError

Spawn = Callable[..., "subprocess.Popen[str]"]

TRAPPED = """
    import os, signal, sys

    steps = 0

    def trap(name):
        real = getattr(os, name)

        def call(*arguments, **options):
            global steps
            if name != "open" or arguments[1] & os.O_CREAT:
                steps += 1
                if steps == int(sys.argv[2]):
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        setattr(os, name, call)

    from datetime import timedelta
    from eventy_sync import FileEventQueue, Retention

    work = sys.argv[3]
    retention = Retention(max_events=30) if work == "retain" else None
    queue = FileEventQueue(sys.argv[1], payload_type=dict, segment_bytes=1024, retention=retention, durability="fsync")
    trapped = "open write ftruncate fsync unlink replace link mkdir chmod fchmod".split()
    if work == "make":
        for name in trapped:
            trap(name)
    with queue:
        if work != "make":
            for name in trapped:
                trap(name)
        if work in ("rotate", "retain", "make"):
            for n in range(40):
                print(queue.publish({"n": n, "text": "x" * 50}).id, flush=True)
        elif work == "many":
            for n in range(5):
                print(queue.publish_many([{"n": n, "text": "x" * 50}] * 9)[-1].id, flush=True)
        elif work == "repair":
            queue.repair()
        elif work == "reset":
            queue.reset()
    print("through", flush=True)
"""
MOST_STEPS = 400


def check(root: Path, acknowledged: int) -> None:
    """What was acknowledged is there, ids run on without a hole, and publishing goes on."""
    with FileEventQueue(root, payload_type=dict) as queue:
        found = queue.verify()
        assert found.damages == []
        stats = queue.stats()
        assert stats["tail"] >= acknowledged
        ids = [event.id for event in queue.iter_events(stats["oldest"])]
        assert ids == list(range(stats["oldest"], stats["tail"] + 1))
        assert queue.publish({"after": True}).id == stats["tail"] + 1
        assert queue.get_event(stats["tail"] + 1).payload == {"after": True}


def clean(root: Path) -> None:
    """Take the root away."""
    if root.exists():
        for path in sorted(root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        root.rmdir()


@pytest.mark.parametrize("work", ["rotate", "retain", "many", "make"])
def test_death_at_each_step_loses_nothing_that_was_acknowledged(root: Path, spawn_python: Spawn, work: str) -> None:
    """Publishing through rotations, with retention, in batches, and into a root that is not there yet."""
    stride = {"rotate": 7, "retain": 7, "make": 3, "many": 1}[work]  # the steps repeat from segment to segment
    died = deaths_by_stride(spawn_python, root, work, stride)
    assert len(died) > 10


def deaths_by_stride(spawn_python: Spawn, root: Path, work: str, stride: int) -> list[int]:
    """Let the work die at every `stride`-th step, in a new root each time."""
    died = []
    for step in range(1, MOST_STEPS, stride):
        clean(root)
        child = spawn_python(TRAPPED, root, step, work)
        output, errors = child.communicate(timeout=60)
        printed = output.split()
        check(root, max((int(each) for each in printed if each.isdigit()), default=0))
        if printed and printed[-1] == "through":
            return died
        assert (child.returncode, errors) == (-9, "")
        died.append(step)
    raise AssertionError("the work never got through")


def damaged(root: Path) -> None:
    """Make a root of forty events whose third segment has a flipped byte."""
    clean(root)
    with FileEventQueue(root, payload_type=dict, segment_bytes=1024) as queue:
        for number in range(40):
            queue.publish({"n": number, "text": "x" * 50})
    segment = sorted((root / "events").glob("*.log"))[2]
    data = bytearray(segment.read_bytes())
    data[40] ^= 0xFF
    segment.write_bytes(data)


def test_death_at_each_step_of_a_repair_leaves_what_a_repair_can_finish(root: Path, spawn_python: Spawn) -> None:
    """At most the one damaged event is lost; no good record is."""
    for step in range(1, MOST_STEPS):
        damaged(root)
        child = spawn_python(TRAPPED, root, step, "repair")
        output, errors = child.communicate(timeout=60)
        with FileEventQueue(root, payload_type=dict) as queue:
            queue.repair()
            assert queue.verify().damages == []
            numbers = [event.payload["n"] for event in queue.search_events(limit=100).items]
            assert len(numbers) == 39
            assert queue.publish({"n": 40}).id == 41
        assert list((root / "events").glob("*.broken"))
        if output.endswith("through\n"):
            assert step > 5
            return
        assert (child.returncode, errors) == (-9, "")
    raise AssertionError("the repair never got through")


def test_death_at_each_step_of_a_reset_keeps_ids_growing(root: Path, spawn_python: Spawn) -> None:
    """All events are there, or the older ones are gone; never a hole, never an id twice."""
    for step in range(1, MOST_STEPS):
        clean(root)
        with FileEventQueue(root, payload_type=dict, segment_bytes=1024) as queue:
            for number in range(40):
                queue.publish({"n": number, "text": "x" * 50})
        child = spawn_python(TRAPPED, root, step, "reset")
        output, _ = child.communicate(timeout=60)
        check(root, 40)
        if output.endswith("through\n"):
            assert step > 3
            return
    raise AssertionError("the reset never got through")


def test_retention_that_cannot_remove_does_not_hold_up_publishing(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and made good as soon as it can be."""

    def refuse(path: object, *, dir_fd: int | None = None) -> None:
        raise PermissionError(1, "Operation not permitted")

    with FileEventQueue(root, payload_type=dict, segment_bytes=1024, retention=Retention(max_events=20)) as queue:
        monkeypatch.setattr(os, "unlink", refuse)
        for number in range(40):
            queue.publish({"n": number, "text": "x" * 50})
        assert "retention failed, publishing goes on: cannot remove" in caplog.text
        with pytest.raises(StorageError, match="cannot remove"):
            queue.apply_retention()
        monkeypatch.undo()
        assert queue.count_events() == 40
        queue.apply_retention()
        assert queue.count_events() <= 20
