"""The file system under a queue: may we write, do locks exclude, what does a sync cost, how much room is left.

What is tried is tried on a temporary file in the directory, which is removed.  Its name is one that a queue bears to
find in a directory that is to become its root.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import lock_descriptor, unlock_descriptor

from eventy_sync.errors import StorageError
from eventy_sync.file.diagnosis.finding import ERROR, OK, WARNING, Finding
from eventy_sync.file.diagnosis.mounts import MEMORY, NETWORK, kind_of_file_system
from eventy_sync.file.identity import IDENTITY_FILE, STATE_FILE
from eventy_sync.storage.files import open_file, storage_errors, write_all
from eventy_sync.storage.log import SEGMENT_BYTES

PART = "file system"
SLOW_SYNC_SECONDS = 0.02
SYNCS = 10
_RECORD_BYTES = 300
_FEW_BYTES, _FEWEST_BYTES = 10 * SEGMENT_BYTES, SEGMENT_BYTES
_FEW_FILES = 1000
_CHILD_SECONDS = 30.0
_LOCKED, _FREE = 10, 11
_TRY_LOCK = f"""
import sys
sys.path[:] = sys.argv[2:]
from filelock import lock_descriptor
with open(sys.argv[1], "rb+") as file:
    sys.exit({_FREE} if lock_descriptor(file.fileno(), blocking=False) else {_LOCKED})
"""


def look_at_file_system(root: Path) -> list[Finding]:
    """Look at the file system where this root is; where it is not there, at that of its nearest parent."""
    place = root.absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        text = f"{str(place)!r} is not a directory"
        return [Finding(PART, "directory", ERROR, text, "name another directory, or move it away")]
    return [_directory(root, place), _kind(place), *_space(place), *_permissions(place), *_trials(place)]


def _directory(root: Path, place: Path) -> Finding:
    if place == root.absolute():
        return Finding(PART, "directory", OK, f"{str(place)!r} is there")
    text = f"{str(root)!r} is not there; this is about {str(place)!r}, where it would be made"
    return Finding(PART, "directory", OK, text)


def _kind(place: Path) -> Finding:
    kind = kind_of_file_system(place)
    if kind is None:
        return Finding(PART, "kind", OK, "this system does not say whether it is local")
    if kind in NETWORK:
        return Finding(
            PART,
            "kind",
            WARNING,
            f"{kind}, over a network",
            "use a local disk: give each host a directory of its own, and let Redis make them one queue",
        )
    if kind in MEMORY:
        return Finding(
            PART, "kind", WARNING, f"{kind}, in memory: gone when the machine stops", "use a disk for what must stay"
        )
    return Finding(PART, "kind", OK, f"{kind}, local")


def _space(place: Path) -> Iterator[Finding]:
    try:
        found = os.statvfs(place)
    except OSError as exc:
        yield Finding(PART, "space", WARNING, f"cannot be told: {exc.strerror}")
        return
    left = found.f_bavail * found.f_frsize
    text = f"{left / 2**30:.1f} GiB left"
    advice = "make room, or drop old events: eventy-sync gc --max-age 30d --dry-run"
    if left < _FEW_BYTES:
        yield Finding(PART, "space", ERROR if left < _FEWEST_BYTES else WARNING, text, advice)
    else:
        yield Finding(PART, "space", OK, text)
    if found.f_files and found.f_favail < _FEW_FILES:
        yield Finding(PART, "space", WARNING, f"only {found.f_favail} more files can be made", "remove files")


def _permissions(place: Path) -> Iterator[Finding]:
    """Say which files of a queue this user may not write to."""
    names = [IDENTITY_FILE, ".lock", STATE_FILE, "events"] if (place / IDENTITY_FILE).exists() else []
    closed = [name for name in names if (place / name).exists() and not os.access(place / name, os.R_OK | os.W_OK)]
    if closed:
        text = f"user {os.geteuid()} may not write to {', '.join(closed)}"
        yield Finding(PART, "permissions", ERROR, text, f"run as user {place.stat().st_uid}, whose directory it is")


def _trials(place: Path) -> Iterator[Finding]:
    try:
        with _temporary_file(place) as path:
            yield _locks(path)
            yield _sync(path)
    except StorageError as exc:
        advice = f"let user {os.geteuid()} write there, or name another directory"
        yield Finding(PART, "writing", ERROR, str(exc), advice)


@contextmanager
def _temporary_file(place: Path) -> Iterator[Path]:
    path = place / f".{IDENTITY_FILE}.doctor-{uuid4().hex}.tmp"
    with storage_errors("make a file in", place):
        os.close(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _locks(path: Path) -> Finding:
    """Try what keeps writers apart, as the append lock does it: on another descriptor, and in another process."""
    broken = "use a local disk; on this one writers would damage the log"
    first, second = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    try:
        if not lock_descriptor(first, blocking=False):
            return Finding(PART, "locks", ERROR, "a lock that nobody has is not given", broken)
        if lock_descriptor(second, blocking=False):
            return Finding(PART, "locks", ERROR, "two descriptors had one lock at the same time", broken)
        if (code := _try_in_another_process(path)) != _LOCKED:
            text = "two processes had one lock at the same time" if code == _FREE else "another process cannot try it"
            return Finding(PART, "locks", ERROR, text, broken if code == _FREE else "try again; is the machine full?")
        unlock_descriptor(first)
        if not lock_descriptor(second, blocking=False):
            return Finding(PART, "locks", ERROR, "a lock that was given back is not free", broken)
    except OSError as exc:
        return Finding(PART, "locks", ERROR, f"files cannot be locked: {exc.strerror or exc}", "use a local disk")
    finally:
        os.close(first)
        os.close(second)
    return Finding(PART, "locks", OK, "they exclude, between descriptors and between processes")


def _try_in_another_process(path: Path) -> int:
    command = [sys.executable, "-I", "-c", _TRY_LOCK, str(path), *sys.path]
    try:
        return subprocess.run(command, capture_output=True, timeout=_CHILD_SECONDS, stdin=subprocess.DEVNULL).returncode
    except subprocess.TimeoutExpired:
        return -1


def _sync(path: Path) -> Finding:
    """Measure what making one record durable costs."""
    taken = []
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        with storage_errors("write to", path.parent):
            for _ in range(SYNCS):
                begun = time.perf_counter()
                write_all(fd, b"x" * _RECORD_BYTES)
                os.fsync(fd)
                taken.append(time.perf_counter() - begun)
    finally:
        os.close(fd)
    seconds = statistics.median(taken)
    text = f"an fsync takes {seconds * 1000:.2f} ms, the longest of {SYNCS} took {max(taken) * 1000:.2f} ms"
    if seconds <= SLOW_SYNC_SECONDS:
        return Finding(PART, "fsync", OK, text)
    advice = 'with durability="fsync" a publish waits for it: publish_many, or use a faster disk'
    return Finding(PART, "fsync", WARNING, text, advice)
