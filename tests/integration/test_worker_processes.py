"""`eventy-sync worker --processes N`: real processes, real signals, real kill -9."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import FileEventQueue
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.server import RedisServer

Start = Callable[..., Any]
Run = Callable[..., Any]
Wait = Callable[..., None]

MODULE = """
import os, signal, time
from eventy_sync import FileEventQueue

queue = FileEventQueue("orders", payload_type=dict)

def say(*words):  # in one piece: all processes write into one file, and print() writes each word by itself
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

@queue.subscriber(from_index=1)
def handle(event):
    say("began", os.getpid())
    if "kills" in event.payload:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(event.payload.get("seconds", 0))
    say("handled", os.getpid(), queue._default_concurrency)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a queue whose module `shop` is where commands are started."""
    (tmp_path / "shop.py").write_text(MODULE)
    return tmp_path / "orders"


def publish(root: Path, **payload: Any) -> None:
    """Append an event."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.publish(payload)


def is_running(pid: int) -> bool:
    """Return whether there is such a process that is not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_so_many_processes_run_the_handlers(start_workers: Start, root: Path, wait_until: Wait) -> None:
    """Each is an interpreter in a session of its own; a signal ends them all, and the command well."""
    publish(root)
    workers = start_workers("shop:queue", "--processes", 3)
    wait_until(lambda: len(workers.ready()) == 3 and workers.output.count("handled") == 3)
    assert sorted(workers.pids()) == sorted(workers.ready())
    assert all(os.getsid(pid) == pid for pid in workers.pids())
    workers.process.terminate()
    assert workers.process.wait(20) == 0
    assert not any(is_running(pid) for pid in workers.pids())
    assert workers.errors.endswith("workers stopped\n")
    assert "Traceback" not in workers.errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_handlers_finish(
    start_workers: Start, root: Path, wait_until: Wait, number: signal.Signals
) -> None:
    """No process is killed under its handler."""
    publish(root, seconds=1)
    workers = start_workers("shop:queue", "--processes", 2)
    wait_until(lambda: workers.output.count("began") == 2)
    workers.process.send_signal(number)
    assert workers.process.wait(20) == 0
    assert workers.output.count("handled") == 2


def test_a_signal_to_each_process_and_the_supervisor_is_one_signal(
    start_workers: Start, root: Path, wait_until: Wait
) -> None:
    """Service managers signal every process they find; handlers may finish all the same."""
    publish(root, seconds=1)
    workers = start_workers("shop:queue", "--processes", 2)
    wait_until(lambda: workers.output.count("began") == 2)
    for pid in [*workers.pids(), workers.process.pid]:
        os.kill(pid, signal.SIGTERM)
    assert workers.process.wait(20) == 0
    assert workers.output.count("handled") == 2


def test_a_second_signal_ends_at_once(start_workers: Start, root: Path, wait_until: Wait) -> None:
    """Handlers that do not finish are cut off; the exit code says so, and nothing is left running."""
    publish(root, seconds=60)
    workers = start_workers("shop:queue", "--processes", 2)
    wait_until(lambda: workers.output.count("began") == 2)
    workers.process.terminate()
    wait_until(lambda: "a second signal ends at once" in workers.errors)
    workers.process.terminate()
    assert workers.process.wait(5) == 130
    assert not any(is_running(pid) for pid in workers.pids())
    assert "handled" not in workers.output


def test_a_process_that_died_is_replaced_at_once(start_workers: Start, root: Path, wait_until: Wait) -> None:
    """It is said once, with what killed it, and the new one does its work."""
    workers = start_workers("shop:queue", "--processes", 2)
    wait_until(lambda: len(workers.ready()) == 2)
    victim = workers.pids()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(workers.ready()) == 3)
    assert workers.errors.count(f"worker process died: pid={victim} SIGKILL; another starts at once") == 1
    publish(root)
    wait_until(lambda: f"handled {workers.pids()[2]}" in workers.output)
    workers.process.terminate()
    assert workers.process.wait(20) == 0


def test_a_process_that_was_told_to_end_is_replaced(start_workers: Start, root: Path, wait_until: Wait) -> None:
    """Only a signal to the supervisor is a wish to stop."""
    workers = start_workers("shop:queue", "--processes", 2)
    wait_until(lambda: len(workers.ready()) == 2)
    victim = workers.pids()[1]
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: len(workers.ready()) == 3)
    assert f"worker process died: pid={victim} exit status 0; another starts at once" in workers.errors


def test_a_process_that_dies_again_and_again_is_started_less_often(
    start_workers: Start, root: Path, wait_until: Wait
) -> None:
    """At once, after a second, after two; meanwhile a signal ends the command."""
    publish(root, kills=True)
    workers = start_workers("shop:queue", "--processes", 2)
    wait_until(lambda: workers.errors.count("another starts in 2 s") == 2)
    assert workers.errors.count("another starts at once") == 2
    assert workers.errors.count("another starts in 1 s") == 2
    workers.process.terminate()
    assert workers.process.wait(1.5) == 0


def test_processes_end_when_the_supervisor_is_killed(start_workers: Start, root: Path, wait_until: Wait) -> None:
    """Their handlers finish first."""
    publish(root, seconds=1)
    workers = start_workers("shop:queue", "--processes", 2)
    wait_until(lambda: workers.output.count("began") == 2)
    workers.process.kill()
    wait_until(lambda: not any(is_running(pid) for pid in workers.pids()), 10)
    assert workers.output.count("handled") == 2
    assert workers.errors.count("the supervisor is gone: stopping") == 2


def test_a_signal_and_then_the_supervisors_death_is_no_second_signal(
    start_workers: Start, root: Path, wait_until: Wait
) -> None:
    """Processes that let their handlers finish go on doing so."""
    publish(root, seconds=1)
    workers = start_workers("shop:queue", "--processes", 2)
    wait_until(lambda: workers.output.count("began") == 2)
    workers.process.terminate()
    wait_until(lambda: workers.errors.count("running: stopping") == 2)
    workers.process.kill()
    wait_until(lambda: not any(is_running(pid) for pid in workers.pids()), 10)
    assert workers.output.count("handled") == 2


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("raise RuntimeError('no database')", "1", "RuntimeError: no database"),
        ("import nothing_of_this_name", "1", "No module named 'nothing_of_this_name'"),
        ("queue = 7", "1", "shop:queue is not an event queue"),
        ("import sys; sys.exit(0)", "0", "before it was ready"),
        (MODULE.replace('"orders"', '"shop.py"'), "1", "shop.py"),
    ],
)
def test_a_module_that_fails_ends_the_command(
    start_workers: Start, tmp_path: Path, source: str, code: str, says: str
) -> None:
    """The error is there once, not for each process and not again and again."""
    (tmp_path / "shop.py").write_text(source)
    workers = start_workers("shop:queue", "--processes", 3)
    assert workers.process.wait(20) == 1
    assert workers.errors.count(says) == 1
    assert len(workers.pids()) == 1
    assert f"exit status {code} before it was ready: stopping" in workers.errors


def test_a_replacement_that_fails_is_tried_again(start_workers: Start, root: Path, wait_until: Wait) -> None:
    """A module that is being deployed must not end what runs."""
    workers = start_workers("shop:queue", "--processes", 2)
    wait_until(lambda: len(workers.ready()) == 2)
    module = root.parent / "shop.py"
    module.write_text("raise RuntimeError('half written')")
    os.kill(workers.pids()[0], signal.SIGKILL)
    wait_until(lambda: "exit status 1; another starts" in workers.errors)
    module.write_text(MODULE)
    os.utime(module, (time.time() + 10,) * 2)  # the time of a source decides whether its bytecode is used
    wait_until(lambda: len(workers.ready()) == 3)


@pytest.mark.parametrize("processes", [1, 3])
def test_a_burst_ends_when_all_is_handled(run_cli: Run, root: Path, processes: int) -> None:
    """Everything that was there is handled, in each process: these subscribers are in no group."""
    for _ in range(20):
        publish(root)
    done = run_cli("worker", "shop:queue", "--burst", "--processes", processes)
    assert done.returncode == 0
    assert done.stdout.count("handled") == 20 * processes


@pytest.mark.parametrize("processes", [1, 2])
def test_a_burst_handles_what_another_root_has_published(
    run_cli: Run, tmp_path: Path, shared_server: RedisServer, processes: int
) -> None:
    """Redis has it: it is there."""
    fields = f'payload_type=dict, name="{tmp_path.name}", redis_url="{shared_server.url}"'
    on_redis = "from eventy_sync.redis import RedisFileEventQueue as FileEventQueue"
    source = MODULE.replace("from eventy_sync import FileEventQueue", on_redis)
    (tmp_path / "shop.py").write_text(source.replace("payload_type=dict", fields))
    here, there = (
        RedisFileEventQueue(tmp_path / each, payload_type=dict, name=tmp_path.name, redis_url=shared_server.url)
        for each in ("orders", "elsewhere")
    )
    with here:
        pass  # it has joined; a root that joins later begins with what comes then
    with there:
        there.publish_many([{}] * 20)
    done = run_cli("worker", "shop:queue", "--burst", "--processes", processes)
    assert done.returncode == 0
    assert done.stdout.count("handled") == 20 * processes


def test_processes_share_a_group(run_cli: Run, root: Path) -> None:
    """A burst of theirs ends when nothing is left to any of them; each event was handled once."""
    (root.parent / "shop.py").write_text(MODULE.replace("from_index=1", 'from_index=1, group="billing"'))
    for _ in range(20):
        publish(root, seconds=0.02)
    done = run_cli("worker", "shop:queue", "--burst", "--processes", 2)
    assert done.returncode == 0
    assert done.stdout.count("handled") == 20
    with FileEventQueue(root, payload_type=dict) as queue:
        assert queue.stats()["groups"]["billing"]["lag"] == 0


def test_a_burst_goes_on_after_a_process_died(start_workers: Start, root: Path, wait_until: Wait) -> None:
    """Its replacement does what it left."""
    publish(root, seconds=1)
    workers = start_workers("shop:queue", "--burst", "--processes", 2)
    wait_until(lambda: workers.output.count("began") == 2)
    os.kill(workers.pids()[0], signal.SIGKILL)
    assert workers.process.wait(20) == 0
    assert workers.output.count("handled") == 2
    assert len(workers.pids()) == 3


def test_options_reach_the_processes(start_workers: Start, root: Path, wait_until: Wait) -> None:
    """Those that were given as variables, too; but a process is one process."""
    publish(root)
    workers = start_workers("shop:queue", "--burst", EVENTY_WORKER_PROCESSES="2", EVENTY_WORKER_THREADS="7")
    assert workers.process.wait(20) == 0
    assert len(workers.pids()) == 2
    assert all(f"handled {pid} 7\n" in workers.output for pid in workers.pids())
