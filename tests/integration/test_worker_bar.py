"""The bar of `eventy-sync worker`: on a terminal, which is a real pseudo-terminal here."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import FileEventQueue
from tests.integration.conftest import environment

MODULE = """
import logging, time
from eventy_sync import FileEventQueue

queue = FileEventQueue("orders", payload_type=dict)

@queue.subscriber(from_index=1)
def handle(event):
    if "fails" in event.payload:
        raise ValueError("no")
    if "seconds" in event.payload:
        print("began")
        time.sleep(event.payload["seconds"])
    print("printed", event.id)
    logging.getLogger("eventy_sync.shop").info("logged %d", event.id)
"""
CLEAR = "\r\x1b[K"


def prepare(ignored: tuple[int, ...]) -> None:
    """Make the standard input the terminal of this process, which is to ignore some signals."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


class Terminal:
    """A terminal that runs one command in its foreground, as a shell does."""

    def __init__(
        self, directory: Path, *arguments: object, columns: int = 100, ignored: tuple[int, ...] = (), **env: str
    ) -> None:
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eventy_sync", *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=directory,
            env=environment(**{"TERM": "xterm", **env}),
            start_new_session=True,
            preexec_fn=lambda: prepare(ignored),
        )
        os.close(theirs)
        self.text = ""

    def read_until(self, pattern: str, timeout_seconds: float = 20.0) -> None:
        """Read what appears until it fits a pattern."""
        deadline = time.monotonic() + timeout_seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"{pattern!r} did not appear in {self.text!r}"
            self._read()

    def press_ctrl_c(self) -> None:
        """Send SIGINT to every process in the foreground."""
        os.write(self._fd, b"\x03")

    def finish(self, timeout_seconds: float = 20.0) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + timeout_seconds
        while self._read():
            assert time.monotonic() < deadline, f"no end in {self.text!r}"
        return self.process.wait(timeout_seconds)

    def _read(self) -> bool:
        if not select.select([self._fd], [], [], 0.1)[0]:
            return True
        try:
            some = os.read(self._fd, 65536)
        except OSError:
            return False  # nobody has the other end any more
        self.text += some.decode()
        return bool(some)

    def lines(self) -> list[str]:
        """What a person sees in the end: each line without what was cleared."""
        return [line.rpartition(CLEAR)[2] for line in self.text.split("\r\n")]

    def hang_up(self) -> None:
        """Take the terminal away."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        """Kill the command and hang up."""
        self.process.kill()
        self.process.wait()
        self.hang_up()


Start = Callable[..., Terminal]


@pytest.fixture
def start_on_terminal(tmp_path: Path) -> Iterator[Start]:
    """Start `eventy-sync` on a terminal of its own; it is hung up at the end."""
    (tmp_path / "shop.py").write_text(MODULE)
    terminals: list[Terminal] = []

    def start(*arguments: object, **options: Any) -> Terminal:
        terminals.append(Terminal(tmp_path, *arguments, **options))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def publish(tmp_path: Path, *payloads: dict[str, object]) -> None:
    """Append events."""
    with FileEventQueue(tmp_path / "orders", payload_type=dict) as queue:
        queue.publish_many(payloads)


@pytest.mark.parametrize(("processes", "said"), [(1, "1 process"), (2, "2 processes")])
def test_the_bar_counts_what_came_since_the_start(
    start_on_terminal: Start, tmp_path: Path, processes: int, said: str
) -> None:
    """Results and failures of an earlier worker are not counted."""
    publish(tmp_path, {}, {"fails": True})
    assert start_on_terminal("worker", "shop:queue", "--burst").finish() == 0
    publish(tmp_path, {}, {})
    terminal = start_on_terminal("worker", "shop:queue", "--processes", processes)
    terminal.read_until(rf"handled {4 * processes} \([\d,]+/s\) · failed {processes} · {said}")
    publish(tmp_path, {"fails": True})
    terminal.read_until(rf"handled {5 * processes} \([\d,]+/s\) · failed {2 * processes} · {said}")
    terminal.press_ctrl_c()
    assert terminal.finish() == 0


@pytest.mark.parametrize(("processes", "said"), [(1, "1 process"), (2, "2 processes")])
def test_the_bar_tells_the_lag_of_groups(start_on_terminal: Start, tmp_path: Path, processes: int, said: str) -> None:
    """What is with a worker counts, too, until it is handled."""
    (tmp_path / "shop.py").write_text(MODULE.replace("from_index=1", 'from_index=1, group="billing"'))
    publish(tmp_path, {"seconds": 1.5}, {})
    terminal = start_on_terminal("worker", "shop:queue", "--processes", processes)
    terminal.read_until(rf"handled \d \([\d,]+/s\) · failed 0 · lag [12] · {said}")
    terminal.read_until(rf"handled 2 \([\d,]+/s\) · failed 0 · lag 0 · {said}")
    terminal.press_ctrl_c()
    assert terminal.finish() == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_lines_take_the_place_of_the_bar(start_on_terminal: Start, tmp_path: Path, processes: int) -> None:
    """What handlers print and log stands in lines of its own, and of the bar nothing is left."""
    terminal = start_on_terminal("worker", "shop:queue", "--processes", processes)
    terminal.read_until(rf"handled 0 \(0/s\) · failed 0 · {processes} process")
    publish(tmp_path, {}, {})
    terminal.read_until(rf"handled {2 * processes} ")
    terminal.press_ctrl_c()
    assert terminal.finish() == 0
    lines = [re.sub(r"^\d{4}-\d\d-\d\d .*: logged", "logged", line) for line in terminal.lines()]
    assert sorted(line for line in lines if re.match("printed|logged", line)) == sorted(
        [f"{what} {number}" for what in ("printed", "logged") for number in (1, 2)] * processes
    )
    assert not any("handled" in line for line in lines)
    assert lines[-2:] == ["worker stopped" if processes == 1 else "workers stopped", ""]


def test_ctrl_c_is_one_signal(start_on_terminal: Start, tmp_path: Path) -> None:
    """It goes to all of the foreground, where the processes are not: handlers finish."""
    publish(tmp_path, {"seconds": 1})
    terminal = start_on_terminal("worker", "shop:queue", "--processes", 2)
    terminal.read_until(r"(?s)began.*began")
    terminal.press_ctrl_c()
    terminal.read_until("stopping, a second Ctrl-C ends at once")
    assert terminal.finish() == 0
    assert terminal.text.count("printed 1") == 2


def test_a_second_ctrl_c_leaves_an_empty_line(start_on_terminal: Start, tmp_path: Path) -> None:
    """The bar is gone then, too."""
    publish(tmp_path, {"seconds": 60})
    terminal = start_on_terminal("worker", "shop:queue", "--processes", 2)
    terminal.read_until(r"(?s)began.*began")
    terminal.press_ctrl_c()
    terminal.read_until("stopping, a second Ctrl-C ends at once")
    terminal.press_ctrl_c()
    assert terminal.finish(5) == 130
    assert terminal.lines()[-2:] == ["interrupted", ""]


@pytest.mark.parametrize(("columns", "shown"), [(20, r"handled 0 \(0/s\) · f"), (0, r"handled 0 .* · 1 process")])
def test_the_bar_is_as_wide_as_the_terminal(start_on_terminal: Start, columns: int, shown: str) -> None:
    """It never needs a second line, which could not be cleared; a terminal that does not say its width is usual."""
    terminal = start_on_terminal("worker", "shop:queue", columns=columns)
    terminal.read_until(re.escape(CLEAR) + shown + re.escape(CLEAR))
    terminal.press_ctrl_c()
    assert terminal.finish() == 0


def test_a_terminal_that_is_gone_ends_no_process(
    start_on_terminal: Start, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Where its hangup is ignored, as under nohup: they go on, and a signal lets handlers finish."""
    (tmp_path / "shop.py").write_text(MODULE.replace('print("began")', 'open("began", "a").write("x")'))
    terminal = start_on_terminal("worker", "shop:queue", "--processes", 2, ignored=(signal.SIGHUP,))
    terminal.read_until(r"2 processes")
    terminal.hang_up()
    publish(tmp_path, {"seconds": 1})
    wait_until((tmp_path / "began").exists)
    wait_until(lambda: (tmp_path / "began").read_text() == "xx")
    terminal.process.terminate()
    terminal.process.wait(20)  # not well: what was still to be printed is lost
    with FileEventQueue(tmp_path / "orders", payload_type=dict) as queue:
        assert queue.count_results() == 2


@pytest.mark.parametrize(("options", "env"), [(["--verbose"], {}), ([], {"TERM": "dumb"})])
def test_there_is_no_bar_where_it_is_not_wanted(
    start_on_terminal: Start, options: list[str], env: dict[str, str], tmp_path: Path
) -> None:
    """With --verbose, and on a terminal that cannot clear a line."""
    publish(tmp_path, {"seconds": 1})
    terminal = start_on_terminal(*options, "worker", "shop:queue", "--processes", 2, "--burst", **env)
    assert terminal.finish() == 0
    assert terminal.text.count("printed 1") == 2
    assert "\x1b" not in terminal.text
    assert "· failed" not in terminal.text


@pytest.mark.parametrize("processes", [1, 2])
def test_there_is_no_bar_in_a_pipe(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, processes: int
) -> None:
    """Logs stay plain text."""
    (tmp_path / "shop.py").write_text(MODULE)
    publish(tmp_path, {"seconds": 0.6})
    done = run_cli("worker", "shop:queue", "--burst", "--processes", processes, TERM="xterm")
    assert done.stdout.count("printed 1\n") == processes
    assert "\x1b" not in done.stderr
    assert "· failed" not in done.stderr
