"""A disk that refuses what Redis has numbered."""

from __future__ import annotations

import errno
import os

import pytest

from eventy_sync import StorageError
from eventy_sync.storage.log import writer
from tests.faults.redis.queues import Make, Wait, log_bytes, numbers


def test_an_event_that_has_its_id_is_not_said_to_be_unpublished(
    make: Make, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that it is published; it comes from the journal, and is there once on both roots."""
    with make("a") as a, make("b") as b:
        a.publish({"n": 0})
        b.publish({"n": 1})
        write_all = writer.write_all

        def refuse(fd: int, data: bytes) -> None:
            monkeypatch.setattr(writer, "write_all", write_all)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(writer, "write_all", refuse)
        with pytest.raises(StorageError, match=r"published as event 3, but not written here yet .*No space left"):
            a.publish({"n": 2})
        assert a.publish({"n": 3}).id == 4
        wait_until(lambda: numbers(a) == numbers(b) == [0, 1, 2, 3])
        assert log_bytes(a) == log_bytes(b)
