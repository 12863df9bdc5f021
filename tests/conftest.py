"""What all tests share: a root, waiting with a deadline, real processes, and a watch on leaks."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventy_sync.redis.server import RedisServer

REPOSITORY = Path(__file__).resolve().parent.parent
SETTLE_SECONDS = 5.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A queue's directory that is not there yet."""
    return tmp_path / "orders"


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Wait for a condition, with a deadline."""

    def wait(condition: Callable[[], object], timeout_seconds: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_seconds
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            pause.wait(0.005)

    return wait


@pytest.fixture
def spawn_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python processes with the given source; they are killed and reaped at the end."""
    processes: list[subprocess.Popen[str]] = []

    def spawn(source: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        processes.append(process)
        return process

    yield spawn
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[RedisServer]:
    """A Redis server that no test may harm."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis server of the test's own."""
    with RedisServer() as server:
        yield server


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    return {fd: target for fd, target in found.items() if not target.startswith(("/dev/", "/proc/"))}


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread, a process or a descriptor behind."""
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    deadline = time.monotonic() + SETTLE_SECONDS
    for thread in set(threading.enumerate()) - threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive(), f"the thread {thread.name} is left running"
    assert not multiprocessing.active_children(), "a process is left running"
    if sys.platform == "linux":
        gc.collect()
        left = {fd: target for fd, target in _descriptors().items() if descriptors.get(fd) != target}
        assert not left, f"descriptors are left open: {left}"
