"""`eventy-sync worker`: a module's handlers run until a signal says stop."""

from __future__ import annotations

import select
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


@pytest.mark.parametrize(
    ("option", "given", "says"),
    [
        ("--processes", 0, "0 is not in the range 1<=x<=1000"),
        ("--processes", 1001, "1001 is not in the range 1<=x<=1000"),
        ("--threads", -1, "-1 is not in the range 1<=x<=1000"),
        ("--threads", "many", "'many' is not a valid integer"),
    ],
)
@pytest.mark.usefixtures("module")
def test_a_wrong_number_is_said_with_its_range(run_cli: Run, option: str, given: object, says: str) -> None:
    """As wrong usage, before anything is started."""
    done = run_cli("worker", "shop:queue", option, given)
    assert done.returncode == 2
    assert says in done.stderr
    assert "worker process" not in done.stderr


@pytest.mark.usefixtures("module")
def test_a_burst_of_a_subscriber_that_starts_at_the_present_ends_at_once(run_cli: Run, module: Path) -> None:
    """Nothing is there for it."""
    with FileEventQueue(module, payload_type=dict) as queue:
        queue.publish({"n": 1})
    done = run_cli("worker", "shop:queue", "--burst")
    assert done.returncode == 0
    assert "handled" not in done.stdout
    assert done.stderr.endswith("worker stopped\n")


def test_a_burst_handles_what_handlers_publish(run_cli: Run, tmp_path: Path) -> None:
    """It ends when nothing is left to do."""
    follows = 'print("handled", event.payload["n"], flush=True)\n    if event.payload["n"]: '
    source = MODULE.replace("@queue.subscriber", "@queue.subscriber(from_index=1)")
    source = source.replace('print("handled", event.payload["n"], flush=True)', follows)
    (tmp_path / "shop.py").write_text(source.rstrip() + 'queue.publish({"n": event.payload["n"] - 1})\n')
    with FileEventQueue(tmp_path / "orders", payload_type=dict) as queue:
        queue.publish({"n": 5})
    done = run_cli("worker", "shop:queue", "--burst")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [f"handled {n}" for n in (5, 4, 3, 2, 1, 0)]


def test_a_second_signal_ends_the_worker_at_once(start_cli: Start, module: Path, tmp_path: Path) -> None:
    """A handler that does not finish is cut off, and the exit code says so."""
    (tmp_path / "shop.py").write_text(MODULE + "    import time; time.sleep(60)\n")
    worker = start_cli("worker", "shop:queue")
    assert worker.stdout is not None
    assert worker.stderr is not None
    worker.stderr.readline()
    with FileEventQueue(module, payload_type=dict) as queue:
        while not select.select([worker.stdout], [], [], 0.1)[0]:
            queue.publish({"n": 1})  # the handler's subscription may not have been there yet
    worker.terminate()
    assert "stopping: handlers may finish" in worker.stderr.readline()
    worker.terminate()
    _, errors = worker.communicate(timeout=5)
    assert worker.returncode == 130
    assert errors.endswith("interrupted\n")
