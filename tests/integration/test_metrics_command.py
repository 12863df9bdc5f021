"""`eventy-sync metrics`: served by a process of its own, until a signal."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from eventy_sync import FileEventQueue

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


def address_of(process: subprocess.Popen[str]) -> str:
    """Return where it says that it serves."""
    assert process.stderr is not None
    found = re.search(r"metrics of 'orders' at (http://\S+); Ctrl-C stops it", process.stderr.readline())
    assert found
    return found[1]


def read(url: str) -> dict[str, float]:
    """Return the samples, by name and labels other than the queue's."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        text = answer.read().decode()
    return {
        " ".join([each.name, *(value for name, value in each.labels.items() if name != "queue")]): each.value
        for family in parse(text)
        for each in family.samples
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_metrics_are_served_until_a_signal(start_cli: Start, root: Path, number: int) -> None:
    """They follow what other processes do, and the command takes no part in it."""
    with FileEventQueue[Any](root, payload_type=dict) as queue:
        queue.subscribe(lambda event: None, group="billing")
        served = start_cli("metrics", "--root-dir", root, "--port", 0)
        url = address_of(served)
        assert url.startswith("http://127.0.0.1:")
        assert read(url)["eventy_events_published_total"] == 0
        queue.publish_many([{}] * 25)
        assert queue.wait_until_idle(20)
        found = read(url)
        assert found["eventy_events_published_total"] == 25
        assert found["eventy_results_total success"] == 25
        assert found["eventy_group_lag billing"] == 0
        assert found["eventy_handle_seconds_count billing"] > 0
        assert found["eventy_up"] == found["eventy_mode file"] == 1
        assert not [name for name in found if "publish_seconds" in name or name.startswith("python_")]
        served.send_signal(number)
        _, errors = served.communicate(timeout=20)
        assert (served.returncode, errors) == (0, "stopped\n")


def test_it_listens_on_the_address_that_is_given(start_cli: Start, root: Path) -> None:
    """Another one than this host's own."""
    with FileEventQueue[Any](root):
        url = address_of(start_cli("metrics", "--root-dir", root, "--port", 0, "--address", "127.0.0.2"))
    assert url.startswith("http://127.0.0.2:")
    assert read(url)["eventy_up"] == 1


def test_a_port_that_is_taken_is_said_in_one_line(run_cli: Run, root: Path) -> None:
    """With what to do instead."""
    with FileEventQueue[Any](root), socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_cli("metrics", "--root-dir", root, "--port", port)
    assert done.returncode == 1
    says = f"Error: cannot listen on 127.0.0.1 port {port} (Address already in use): choose another --port"
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1


def test_an_address_that_is_none_is_said_in_one_line(run_cli: Run, root: Path) -> None:
    """Whether or not the system knows why."""
    with FileEventQueue[Any](root):
        done = run_cli("metrics", "--root-dir", root, "--port", 0, "--address", "256.0.0.1")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: cannot listen on 256.0.0.1 port 0 (")
    assert done.stderr.count("\n") == 1


def test_no_queue_is_made(run_cli: Run, root: Path) -> None:
    """A directory that is none is refused."""
    done = run_cli("metrics", "--root-dir", root, "--port", 0)
    assert done.returncode == 1
    assert str(root) in done.stderr
    assert not root.exists()


def test_without_the_client_the_error_says_what_to_install(root: Path) -> None:
    """As one line, and from the module, too."""
    with FileEventQueue[Any](root):
        pass
    repository = Path(__file__).resolve().parents[2]
    block = "import sys; sys.modules['prometheus_client'] = None; "
    needs = 'eventy_sync.contrib.prometheus needs prometheus_client: pip install "eventy-sync[prometheus]"\n'
    command = f"from eventy_sync.cli import main; main(['metrics', '--root-dir', {str(root)!r}])"
    done = subprocess.run([sys.executable, "-c", block + command], capture_output=True, text=True, cwd=repository)
    assert (done.returncode, done.stderr) == (1, f"Error: {needs}")
    module = "import eventy_sync.contrib.prometheus"
    done = subprocess.run([sys.executable, "-c", block + module], capture_output=True, text=True, cwd=repository)
    assert done.stderr.endswith(f"ImportError: {needs}")
