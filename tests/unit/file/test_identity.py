"""A root: made once, known again, and refused when it is something else."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eventy_sync import QueueFormatError, StorageError
from eventy_sync.file.identity import QueueIdentity, SharedName, mark_joined, open_root, read_identity

REPOSITORY = Path(__file__).resolve().parents[3]


def test_a_root_keeps_its_identity(root: Path) -> None:
    """Made at the first opening, the same at each one after; private."""
    made = open_root(root)
    assert open_root(root) == read_identity(root) == made
    assert made.format == 1
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "queue.json").stat().st_mode) == 0o600
    assert set(json.loads((root / "queue.json").read_text())) == {"format", "queue_id", "root_id", "created_at"}


def test_many_who_make_a_root_at_once_agree_on_one(root: Path) -> None:
    """Nobody overwrites the first one's identity, and nothing temporary stays."""
    found: list[QueueIdentity] = []
    together = threading.Barrier(16)

    def make() -> None:
        together.wait()
        found.append(open_root(root))

    threads = [threading.Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert [path.name for path in root.iterdir()] == ["queue.json"]


def test_a_root_remembers_that_it_has_joined_others(root: Path) -> None:
    """The name and prefix, beside what was there; another one takes its place."""
    made = open_root(root)
    for name in ("orders", "bills"):
        marked = mark_joined(root, SharedName(name, "eventy"))
        assert marked.joined == SharedName(name, "eventy")
        assert (marked.root_id, marked.queue_id) == (made.root_id, made.queue_id)
        assert open_root(root) == marked
    assert [path.name for path in root.iterdir()] == ["queue.json"]


def test_what_a_dying_maker_left_does_not_hinder(root: Path) -> None:
    """A temporary file is no foreign one."""
    root.mkdir()
    (root / ".queue.json.0123.tmp").write_text("{")
    assert open_root(root).format == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"format": 2}', "says format 2; this version knows 1: upgrade eventy-sync"),
        ("", "is damaged"),
        ("[]", "is damaged"),
        ("{}", "is damaged"),
        ('{"format": 1, "queue_id": "x", "root_id": "y", "created_at": "now"}', "is damaged"),
        ("\x00" * 100, "is damaged"),
        ('{"format": "1"}', "is damaged"),
        ("[" * 60_000, "is damaged"),
    ],
)
def test_a_queue_json_that_cannot_be_ours_is_refused(root: Path, text: str, says: str) -> None:
    """And left as it is."""
    root.mkdir()
    (root / "queue.json").write_text(text)
    with pytest.raises(QueueFormatError, match=says):
        open_root(root)
    assert (root / "queue.json").read_text() == text


def test_a_directory_of_something_else_is_refused(root: Path) -> None:
    """The error names what is there, and nothing is written into it."""
    root.mkdir()
    (root / "thesis.txt").write_text("years of work")
    with pytest.raises(QueueFormatError, match=r"it holds 'thesis.txt'; name a new or empty directory"):
        open_root(root)
    assert [path.name for path in root.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_queue_json_that_is_no_file_is_refused(root: Path, make: object) -> None:
    """A FIFO does not hang, a link is not followed."""
    root.mkdir()
    make(root / "queue.json")  # type: ignore[operator]
    with pytest.raises(StorageError, match=r"queue\.json"):
        open_root(root)


AS_NOBODY = """
import os, sys
sys.path.insert(0, sys.argv[2])
from eventy_sync import EventyError, FileEventQueue
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with FileEventQueue(sys.argv[1], payload_type=dict) as queue:
        print(queue.count_events())
        queue.publish({})
except EventyError as exc:
    print(type(exc).__name__, exc)
"""


@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_root_one_may_not_use_is_refused(mode: int) -> None:
    """Unreadable or read-only: one error that names the path, and no traceback."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to other users
        os.chmod(name, 0o755)
        root = Path(name) / "orders"
        open_root(root)
        if os.getuid() == 0:
            for path in (root, *root.iterdir()):
                os.chown(path, 65534, 65534)
        os.chmod(root, mode)
        command = [sys.executable, "-c", AS_NOBODY, str(root), str(REPOSITORY)]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/")
        os.chmod(root, 0o700)
    assert done.stderr == ""
    assert done.stdout.startswith("StorageError cannot ")
    assert "Permission denied" in done.stdout
    assert str(root) in done.stdout
