"""Metrics where several processes have one queue open: each of them is right for all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from eventy_sync import FileEventQueue

REPOSITORY = Path(__file__).resolve().parents[2]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
Spawn = Callable[..., "subprocess.Popen[str]"]

PROCESS = """
    import sys
    from prometheus_client import REGISTRY, generate_latest
    from eventy_sync import FileEventQueue
    from eventy_sync.contrib.prometheus import register

    with FileEventQueue(sys.argv[1], payload_type=dict) as queue:
        register(queue)
        for line in sys.stdin:
            command, _, number = line.strip().partition(" ")
            if command == "publish":
                for n in range(int(number)):
                    queue.publish({"n": n})
            elif command == "handle":
                queue.subscribe(lambda event: None, group="billing", from_index=1)
                queue.wait_until_idle(30)
            elif command == "scrape":
                print(generate_latest(REGISTRY).decode())
            print("done", flush=True)
"""


def tell(process: subprocess.Popen[str], command: str) -> str:
    """Have a process do something, and return what it prints."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(command + "\n")
    process.stdin.flush()
    lines = []
    while (line := process.stdout.readline()) != "done\n":
        assert line, "the process has ended"
        lines.append(line)
    return "".join(lines)


def samples(text: str) -> Samples:
    """Return what prometheus_client reads of our metrics."""
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in parse(text)
        for each in family.samples
        if each.name.startswith("eventy_") and not each.name.endswith("_created")
    }


def named(found: Samples, name: str, **labels: str) -> float:
    """Return the one sample of that name with these labels."""
    (value,) = (each for (other, have), each in found.items() if other == name and labels.items() <= dict(have).items())
    return value


def test_every_process_tells_what_all_have_done(root: Path, spawn_python: Spawn) -> None:
    """Two publish, a third handles; what two of them say is the same, but for what they measure of themselves."""
    first, second, worker = (spawn_python(PROCESS, root) for _ in range(3))
    tell(first, "scrape")
    tell(first, "publish 30")
    tell(second, "publish 50")
    tell(worker, "handle")
    ours, theirs = samples(tell(first, "scrape")), samples(tell(second, "scrape"))
    assert named(ours, "eventy_events_published_total") == 80
    assert named(ours, "eventy_results_total", outcome="success") == 80
    assert named(ours, "eventy_handle_seconds_count", group="billing") > 0
    assert named(ours, "eventy_publish_seconds_count") == 30
    assert named(theirs, "eventy_publish_seconds_count") == 50
    shared = {key: value for key, value in ours.items() if "publish_seconds" not in key[0]}
    assert shared == {key: value for key, value in theirs.items() if "publish_seconds" not in key[0]}


def test_a_killed_process_takes_no_shared_number_along(root: Path, spawn_python: Spawn) -> None:
    """What another process tells after a kill is no less than before."""
    first, second = spawn_python(PROCESS, root), spawn_python(PROCESS, root)
    tell(second, "scrape")
    tell(first, "publish 20")
    tell(first, "handle")
    before = samples(tell(first, "scrape"))
    first.kill()
    first.wait()
    after = samples(tell(second, "scrape"))
    for name in ("eventy_events_published_total", "eventy_handle_seconds_count"):
        assert named(after, name) == named(before, name) > 0


MULTIPROCESS = """
    import os, sys, warnings
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector
    from eventy_sync import FileEventQueue
    from eventy_sync.contrib.prometheus import register

    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # as in setup.cfg
    queue = FileEventQueue(sys.argv[1], payload_type=dict)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    register(queue, registry)
    queue.open()
    queue.publish({})
    for number in (1, 2):
        if os.fork() == 0:
            for _ in range(10 * number):
                queue.publish({})
            queue.close()
            os._exit(0)
    assert [os.wait()[1] for _ in range(2)] == [0, 0]
    sys.stdout.write(generate_latest(registry).decode())
    queue.close()
"""


def test_the_clients_multiprocess_mode_sums_up_processes(root: Path, tmp_path: Path) -> None:
    """Forked after a preload, as gunicorn's workers are: one scrape has what all of them measured, each metric once."""
    directory = tmp_path / "metrics"
    directory.mkdir()
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    source = "\n".join(line[4:] for line in MULTIPROCESS.splitlines())
    done = subprocess.run([sys.executable, "-c", source, root], capture_output=True, text=True, timeout=60, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    found = samples(done.stdout)
    assert named(found, "eventy_events_published_total") == 31
    assert named(found, "eventy_publish_seconds_count") == 31
    assert done.stdout.count("# TYPE eventy_publish_seconds histogram") == 1


def test_a_scrape_costs_the_same_however_long_the_history(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes as many steps in SQLite after fifty times as many results, half of them failures."""
    monkeypatch.setattr("eventy_sync.storage.state.handling_times.SETTLE_SECONDS", 10_000.0)  # none comes meanwhile
    from eventy_sync.file.readings import take_readings

    def steps(queue: FileEventQueue[Any]) -> int:
        take_readings(queue)
        take_readings(queue)  # nothing came in between
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        with queue._opened().store.results._connection._locked() as database:
            database.set_progress_handler(step, 1)
            take_readings(queue)
            database.set_progress_handler(None, 1)
        return count

    with FileEventQueue[Any](root, payload_type=dict) as queue:
        queue.subscribe(lambda event: None, group="billing")
        queue.subscribe(lambda event: event.payload["missing"])
        queue.publish_many([{}] * 100)
        assert queue.wait_until_idle(20)
        few = steps(queue)
        queue.publish_many([{}] * 5000)
        assert queue.wait_until_idle(60)
        assert few > 0
        assert steps(queue) <= few * 1.2
        assert queue.count_results() == 2 * 5100


@pytest.mark.parametrize("name", ["prometheus_client", "eventy_sync.contrib"])
def test_the_library_alone_imports_no_metrics(name: str) -> None:
    """Nor does the command line until it is asked for them."""
    source = f"import sys, eventy_sync, eventy_sync.cli; print({name!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout == "False\n"
