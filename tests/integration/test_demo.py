"""The demo: under twenty seconds, nothing lost, nothing left behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import FileEventQueue

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
REPOSITORY = Path(__file__).resolve().parents[2]
LOG = REPOSITORY / "eventy_sync" / "cli" / "demo_data" / "access.log"


def demo_processes(directory: Path) -> list[str]:
    """Return the command lines of running processes that name this directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in text and "demo_worker" in text:
            found.append(text)
    return found


def test_the_demo_loses_nothing_and_says_so(run_cli: Run, tmp_path: Path) -> None:
    """Its figures are those of the queues it leaves with --keep."""
    started = time.monotonic()
    done = run_cli("demo", "--keep", tmp_path / "kept")
    assert time.monotonic() - started < 20
    assert (done.returncode, done.stderr) == (0, "")
    expected = len(LOG.read_text().splitlines())
    assert expected > 2000
    assert f"published   {expected + 1} lines in " in done.stdout
    assert "killed      one of two workers, with -9, after " in done.stdout
    assert "lost        nothing" in done.stdout
    assert "0 damaged records" in done.stdout
    assert re.search(r"^tried again [1-9]", done.stdout, flags=re.MULTILINE)
    assert f"given up    event {expected + 1} after 5 attempts: ValueError" in done.stdout
    assert len(re.findall(r"^worked ", done.stdout, flags=re.MULTILINE)) >= 2
    with FileEventQueue(tmp_path / "kept" / "lines") as queue:
        assert queue.count_events() == expected + 1  # one that cannot be handled
        assert [letter.event_id for letter in queue.dead_letters("statuses").items] == [expected + 1]
    assert run_cli("demo", "--keep", tmp_path / "kept").returncode == 2
    assert demo_processes(tmp_path) == []


def test_the_demo_shows_progress_on_a_terminal(tmp_path: Path) -> None:
    """Bars while it runs, the summary at the end."""
    main, other = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "eventy_sync", "demo"]
    process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment, cwd=tmp_path)
    os.close(other)
    shown = bytearray()

    def read() -> None:
        try:
            while data := os.read(main, 4096):
                shown.extend(data)
        except OSError:  # the other end is closed
            return

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(60) == 0
    reader.join()
    os.close(main)
    text = shown.decode()
    assert text.count("100%") == 2
    assert "lost        nothing" in text
    assert list(tmp_path.rglob("*")) == []


def test_an_interrupted_demo_leaves_nothing_behind(
    start_cli: Start, tmp_path: Path, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No directory, no worker; exit code 130."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    demo = start_cli("demo", start_new_session=True)
    wait_until(lambda: len(demo_processes(tmp_path)) == 2)
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
    _, errors = demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert "Traceback" not in errors
    assert demo_processes(tmp_path) == []
    assert list(tmp_path.rglob("*")) == []


def test_the_access_log_is_what_its_script_makes(tmp_path: Path) -> None:
    """Made once and committed; byte for byte the same again."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "make_access_log.py")]
    assert subprocess.run(command, check=True, capture_output=True, cwd=tmp_path).stdout == LOG.read_bytes()
