"""A project of a web framework as a test makes it: its files, its processes, and gunicorn that serves it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventy_sync import FileEventQueue

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass
class Order:
    """As the project has it."""

    id: int
    total: float


class Project(ABC):
    """The project in a directory, and the processes that were started in it."""

    files: Mapping[str, str] = {}
    also_on_path: tuple[Path, ...] = ()
    application = ""
    """What gunicorn serves."""
    worker: tuple[str, ...] = ()
    """The command that handles events."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "orders"
        self._started: list[subprocess.Popen[str]] = []
        for name, text in self.files.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Write one of its files."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def publish(self, *numbers: int) -> None:
        """Publish orders from another process than the project's."""
        with FileEventQueue(self.root, payload_type=Order) as queue:
            queue.publish_many([Order(n, 1.0) for n in numbers])

    def _environment(self, env: dict[str, str]) -> dict[str, str]:
        others = ("EVENTY_", "DJANGO_", "FLASK_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        path = os.pathsep.join(map(str, (REPOSITORY, self.directory, *self.also_on_path)))
        return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default", **env}

    @abstractmethod
    def prepare(self) -> None:
        """Make what the worker needs."""

    @abstractmethod
    def queue_settings(self, **settings: object) -> dict[str, str]:
        """Return the environment that adds settings of the queue."""

    def run(self, *command: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments to its end."""
        return subprocess.run(
            [sys.executable, *map(str, command)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.directory,
            env=self._environment(env),
            stdin=subprocess.DEVNULL,
        )

    def start(self, *command: object, **env: str) -> Started:
        """Start Python with these arguments, and leave it running; it is killed at the end."""
        started = Started(self.directory, [sys.executable, *map(str, command)], self._environment(env))
        self._started.append(started.process)
        return started

    def end(self) -> None:
        """Kill what is left running, with what it has started in its session."""
        for process in self._started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


class Started:
    """A running process, its output in files that tests look into."""

    _count = 0

    def __init__(self, directory: Path, command: list[str], env: dict[str, Any]) -> None:
        Started._count += 1
        self._output = directory / f"output-{Started._count}.txt"
        self._errors = directory / f"errors-{Started._count}.txt"
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=directory,
                env=env,
                start_new_session=True,
                text=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    @property
    def errors(self) -> str:
        """What it has logged."""
        return self._errors.read_text()

    def stop(self, timeout_seconds: float = 20.0) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.terminate()
        return self.process.wait(timeout_seconds)


class Site:
    """A project under gunicorn."""

    def __init__(self, project: Project, options: tuple[object, ...], env: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        bind = ("--bind", f"127.0.0.1:{self.port}", "--no-control-socket")
        self.started = project.start("-m", "gunicorn", project.application, *bind, *options, **env)

    def get(self, path: str) -> tuple[int, Any]:
        """Ask for a page of JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def stop(self) -> int:
        """Send SIGTERM and return the exit status.  A worker that is just being started may not hear of it."""
        process = self.started.process
        process.terminate()
        for _ in range(40):
            with suppress(subprocess.TimeoutExpired):
                return process.wait(1.0)
            for worker in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(worker), signal.SIGTERM)
        raise AssertionError("the site does not stop")

    def is_up(self) -> bool:
        """Return whether it answers."""
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False


def check_two_processes(project: Project, worker: Any, queue: str, wait_until: Callable[..., None]) -> None:
    """Check that a worker's two processes share the work, one that is killed is replaced, and SIGTERM ends all.

    The worker calls its queue `queue`, and has nothing to do yet.
    """
    opened = f"runs the queue {queue}: worker_id"
    wait_until(lambda: worker.errors.count(opened) == 2)
    project.publish(*range(1, 41))
    wait_until(lambda: worker.output.count("billed") == 40)
    pids = [int(line.split("pid=")[1]) for line in worker.errors.splitlines() if "process started" in line]
    assert len(pids) == 2
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: worker.errors.count(opened) == 3)
    project.publish(41)
    wait_until(lambda: "billed 41 " in worker.output)
    assert worker.stop() == 0
    assert worker.output.count("billed") == 41
    assert worker.errors.endswith("workers stopped\n")
