"""Syncs that fail, disks that fill in the middle of a batch, files that cannot be read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import EventNotFoundError, FileEventQueue, StorageError


def test_an_interval_sync_that_fails_stops_publishing(
    root: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """It is never tried again; each publish says why, until the queue is opened anew; reading goes on."""
    syncs: list[int] = []

    def fail(fd: int) -> None:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            syncs.append(fd)
            raise OSError(errno.EIO, "Input/output error")

    queue = FileEventQueue(root, payload_type=dict)
    with queue:
        monkeypatch.setattr(os, "fsync", fail)
        queue.publish({"n": 1})
        wait_until(lambda: "sync failed" in caplog.text)
        for _ in range(3):
            with pytest.raises(StorageError, match=r"Input/output error.*reopen the queue"):
                queue.publish({"n": 2})
        assert len(syncs) == 1
        assert queue.get_event(1).payload == {"n": 1}
    monkeypatch.undo()
    with queue:
        assert queue.publish({"n": 3}).id == 2


def test_a_segments_name_that_cannot_be_synced_stops_publishing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose name is lost is lost; opened anew, the name is synced before anything is appended."""
    synced: list[str] = []

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def note(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))

    queue = FileEventQueue(root, payload_type=dict)
    with queue:
        monkeypatch.setattr(os, "fsync", fail)
        for _ in range(2):
            with pytest.raises(StorageError, match="Input/output error"):
                queue.publish({})
        monkeypatch.setattr(os, "fsync", note)
    with queue:
        assert queue.publish({}).id == 1
        assert synced[0] == str(root / "events")


def test_a_sync_that_fails_refuses_that_publish(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With durability fsync the caller learns it at once."""
    with FileEventQueue(root, payload_type=dict, durability="fsync") as queue:
        queue.publish({})

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="Input/output error"):
            queue.publish({})
        monkeypatch.undo()
        with pytest.raises(StorageError, match="reopen the queue"):
            queue.publish({})


def test_a_disk_that_fills_in_a_batch_takes_none_of_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole batch is refused, and the next one has the ids it would have had."""
    write = os.write
    with FileEventQueue(root, payload_type=dict, durability="os") as queue:
        queue.publish({"n": 0})

        def write_half(fd: int, data: bytes) -> int:
            if len(data) > 100 or data == b"\n":  # what is taken back makes room for a seal
                return write(fd, bytes(data)[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", write_half)
        with pytest.raises(StorageError, match="No space left on device; nothing was written"):
            queue.publish_many([{"n": number} for number in range(3)])
        monkeypatch.undo()
        with pytest.raises(EventNotFoundError):
            queue.get_event(2)
        assert [event.id for event in queue.publish_many([{"n": "after"}] * 2)] == [2, 3]
        assert [event.payload["n"] for event in queue.iter_events()] == [0, "after", "after"]


def test_a_write_that_cannot_be_taken_back_stops_publishing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may write behind half a record; opened anew, its end is cut off."""
    write = os.write
    queue = FileEventQueue(root, payload_type=dict, durability="os")
    with queue:
        queue.publish({"n": 1})

        def fail(fd: int, size: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        def write_half(fd: int, data: bytes) -> int:
            if len(data) > 20:
                return write(fd, bytes(data)[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "ftruncate", fail)
        monkeypatch.setattr(os, "write", write_half)
        with pytest.raises(StorageError):
            queue.publish({"n": 2})
        monkeypatch.undo()
        with pytest.raises(StorageError, match="could not be taken back"):
            queue.publish({"n": 2})
    with queue:
        assert queue.publish({"n": 3}).id == 2
        assert [event.payload["n"] for event in queue.iter_events()] == [1, 3]


def test_a_log_that_cannot_be_read_is_a_storage_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a bare OSError."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.publish({})

        def fail(fd: int, length: int, position: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "pread", fail)
        for read in (lambda: queue.get_event(1), lambda: list(queue.iter_events()), queue.search_events, queue.verify):
            with pytest.raises(StorageError, match="Input/output error"):
                read()
