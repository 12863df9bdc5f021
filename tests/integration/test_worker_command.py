"""`eventy-sync worker`: a module's handlers run until a signal says stop."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import FileEventQueue

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
Wait = Callable[..., None]

MODULE = """
from eventy_sync import FileEventQueue

queue = FileEventQueue("orders", payload_type=dict)
number = 7

@queue.subscriber
def handle(event):
    print("handled", event.payload["n"], flush=True)
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module `shop` where the command is started."""
    (tmp_path / "shop.py").write_text(MODULE)
    return tmp_path / "orders"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_handles_events_until_a_signal(start_cli: Start, module: Path, wait_until: Wait, number: int) -> None:
    """It says who it is, handles what is published elsewhere, and ends well."""
    worker = start_cli("worker", "shop:queue")
    assert worker.stdout is not None
    assert worker.stderr is not None
    assert "runs shop:queue; Ctrl-C stops it" in worker.stderr.readline()
    with FileEventQueue(module, payload_type=dict) as queue:
        wait_until(lambda: queue.publish({"n": 1}) and queue.search_results(limit=1).items)
    assert worker.stdout.readline() == "handled 1\n"
    worker.send_signal(number)
    _, errors = worker.communicate(timeout=20)
    assert worker.returncode == 0
    assert errors.endswith("worker stopped\n")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("shop", 2, "is not MODULE:QUEUE"),
        ("shop:", 2, "is not MODULE:QUEUE"),
        (":queue", 2, "is not MODULE:QUEUE"),
        ("nothing:queue", 1, "there is no module 'nothing' here or on PYTHONPATH"),
        ("shop.deeper:queue", 1, "there is no module 'shop.deeper'"),
        ("shop:missing", 1, "shop:missing is missing"),
        ("shop:number", 1, "shop:number is not an event queue"),
    ],
)
@pytest.mark.usefixtures("module")
def test_a_wrong_target_is_said_in_one_line(run_cli: Run, target: str, code: int, says: str) -> None:
    """With what to write instead."""
    done = run_cli("worker", target)
    assert done.returncode == code
    assert says in done.stderr
