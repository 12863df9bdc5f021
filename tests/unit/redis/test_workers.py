"""Who may be taken off the list of workers; no server."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from eventy_sync.redis.workers import EXPIRY_SECONDS, SILENT_SECONDS, Worker


@pytest.fixture(scope="module")
def dead_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("silent_seconds", "host", "root_id", "is_dead", "is_gone"),
    [
        (0, "here", "mine", True, False),  # a process of another container may have a pid we cannot see
        (SILENT_SECONDS + 1, "here", "mine", True, True),
        (SILENT_SECONDS + 1, "here", "mine", False, False),  # it only publishes, now and then
        (SILENT_SECONDS + 1, "elsewhere", "mine", True, False),
        (SILENT_SECONDS + 1, "here", "another", True, False),
        (EXPIRY_SECONDS + 1, "elsewhere", "another", True, True),
        (EXPIRY_SECONDS + 1, "here", "mine", False, True),
    ],
)
def test_only_who_cannot_live_is_gone(
    dead_pid: int, silent_seconds: float, host: str, root_id: str, is_dead: bool, is_gone: bool
) -> None:
    """Silent for a day, or silent for a minute and dead on this host."""
    pid = dead_pid if is_dead else os.getpid()
    worker = Worker(pid, root_id, time.time() - silent_seconds, host)
    assert worker.is_gone("mine", "here") is is_gone


@pytest.mark.parametrize("pid", [0, -1, 2**70])
def test_an_absurd_pid_is_no_signal_to_anybody(pid: int) -> None:
    """Asking whether it runs harms nobody."""
    assert Worker(pid, "mine", time.time() - SILENT_SECONDS - 1, "here").is_gone("mine", "here") in (True, False)
