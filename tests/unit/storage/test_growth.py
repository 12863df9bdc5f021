"""The kernel tells of writing into a directory, whoever writes, and keeps what nobody has waited for."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventy_sync.storage.growth import Growth

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


def waits(growth: Growth, seconds: float = 0.05) -> bool:
    """Return whether a wait lasts as long as it may, and clear what it was over for."""
    started = time.monotonic()
    growth.wait(seconds)
    lasted = time.monotonic() - started >= seconds
    growth.clear()
    return lasted


def test_each_write_is_told_of(tmp_path: Path) -> None:
    """Also to files that were made since; once, however many there were, and though nobody waited at the time."""
    growth = Growth(tmp_path)
    assert waits(growth)
    for name in ("one", "two"):
        with (tmp_path / name).open("ab", buffering=0) as file:
            for _ in range(100):
                file.write(b"x")
            assert not waits(growth, 20)
            assert waits(growth)
            file.write(b"x")
            assert not waits(growth, 20)
    assert waits(growth)


def test_who_sleeps_is_woken_by_another_process(tmp_path: Path, spawn_python: Callable[..., object]) -> None:
    """Reading a file does not wake anybody."""
    growth = Growth(tmp_path)
    woken = threading.Event()
    waiter = threading.Thread(target=lambda: (growth.wait(60), woken.set()))
    (tmp_path / "file").write_bytes(b"x")
    growth.wait(20)
    growth.clear()
    waiter.start()
    assert (tmp_path / "file").read_bytes() == b"x"
    assert not woken.wait(0.1)
    spawn_python("import sys; open(sys.argv[1], 'ab', buffering=0).write(b'y')", tmp_path / "file")
    assert woken.wait(20)
    waiter.join(20)


def test_it_can_be_given_like_a_hint(tmp_path: Path) -> None:
    """Before somebody waits or while, once or twice."""
    growth = Growth(tmp_path)
    growth.give()
    growth.give()
    assert not waits(growth, 20)
    assert waits(growth)
    giver = threading.Timer(0.05, growth.give)
    giver.start()
    assert not waits(growth, 20)
    giver.join()


def test_who_was_woken_knows_by_whom(tmp_path: Path) -> None:
    """By the kernel, by somebody here, by both, or by the time."""
    growth = Growth(tmp_path)
    assert not growth.wait(0.01)
    assert not growth.clear()
    growth.give()
    assert not growth.wait(20)
    assert not growth.clear()
    (tmp_path / "file").write_bytes(b"x")
    assert growth.wait(20)
    assert growth.clear()
    (tmp_path / "file").write_bytes(b"y")
    growth.give()
    assert growth.wait(20)
    assert growth.clear()
    assert waits(growth)


def test_what_it_was_woken_for_is_kept_until_it_is_cleared(tmp_path: Path) -> None:
    """Who comes next is woken for it, too; what is written after clearing is told of again."""
    growth = Growth(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    assert growth.wait(20)
    assert growth.wait(20)
    (tmp_path / "file").write_bytes(b"y")  # before clearing: who clears looks afterwards
    assert growth.clear()
    assert not growth.clear()
    assert waits(growth)
    (tmp_path / "file").write_bytes(b"z")
    assert growth.wait(20)
    growth.clear()


def test_a_directory_that_is_not_there_is_refused_and_leaves_nothing_open(tmp_path: Path) -> None:
    """As is one too many for this user; the error names it."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="nowhere"):
        Growth(tmp_path / "nowhere")
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_forgotten_is_closed(tmp_path: Path) -> None:
    """Not before the last one has forgotten it."""
    before = len(os.listdir("/proc/self/fd"))
    growth = Growth(tmp_path)
    late = growth.give
    assert len(os.listdir("/proc/self/fd")) == before + 2
    del growth
    late()
    del late
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_closed_is_closed_at_once(tmp_path: Path) -> None:
    """Whoever still refers to it: a destructor would swallow the Ctrl-C that comes meanwhile.  Twice is once."""
    before = len(os.listdir("/proc/self/fd"))
    growth = Growth(tmp_path)
    growth.close()
    growth.close()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    growth.give()
    assert not waits(growth, 20)
    (tmp_path / "file").write_bytes(b"x")
    assert waits(growth)


def test_the_child_of_a_fork_has_none_of_them(tmp_path: Path, spawn_python: Callable[..., Any]) -> None:
    """Not even that which a thread of its parent was waiting on, who still hears."""
    child = spawn_python(
        """
        import os, sys, threading, warnings
        from pathlib import Path
        from eventy_sync.storage.growth import Growth

        directory = Path(sys.argv[1])
        before = len(os.listdir("/proc/self/fd"))
        is_made = threading.Event()

        def wait():
            growth = Growth(directory)
            is_made.set()
            growth.wait(60)

        threading.Thread(target=wait).start()
        is_made.wait(20)
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what is tried
        pid = os.fork()
        if pid == 0:
            os._exit(len(os.listdir("/proc/self/fd")) - before)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        (directory / "file").write_bytes(b"x")
        """,
        tmp_path,
    )
    _, errors = child.communicate(timeout=30)
    assert (child.returncode, errors) == (0, "")
