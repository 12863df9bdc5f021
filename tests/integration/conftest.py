"""The command line as a user has it: another process, its own environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    """Return a clean environment in which the package is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVENTY_")}
    return {**kept, "PYTHONPATH": str(REPOSITORY), **more}


@pytest.fixture
def run_cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `eventy-sync` with these arguments to its end."""

    def run(*arguments: object, stdin: str | bytes = "", **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "eventy_sync", *map(str, arguments)],
            input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            capture_output=True,
            timeout=60,
            cwd=tmp_path,
            env=environment(**env),
        )
        output, errors = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in errors
        return subprocess.CompletedProcess(done.args, done.returncode, output, errors)

    return run


@pytest.fixture
def start_cli(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `eventy-sync` and leave it running; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "eventy_sync", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(PYTHONUNBUFFERED="1"),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Workers:
    """A running `eventy-sync worker`, its output in files that tests look into."""

    def __init__(self, directory: Path, arguments: tuple[object, ...], env: dict[str, str]) -> None:
        self._output, self._errors = directory / "output.txt", directory / "errors.txt"
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "eventy_sync", "worker", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=directory,
                env=environment(PYTHONUNBUFFERED="1", **env),
            )

    @property
    def output(self) -> str:
        """What handlers have printed."""
        return self._output.read_text()

    @property
    def errors(self) -> str:
        """What the command and its processes have logged."""
        return self._errors.read_text()

    def pids(self) -> list[int]:
        """The processes that were started, in order."""
        return [int(each) for each in re.findall(r"worker process started: pid=(\d+)", self.errors)]

    def ready(self) -> list[int]:
        """The processes that have said that they run the handlers."""
        return [int(each) for each in re.findall(r"\[(\d+)\] \S+: runs shop:queue", self.errors)]


@pytest.fixture
def start_workers(tmp_path: Path) -> Iterator[Callable[..., Workers]]:
    """Start `eventy-sync worker` and leave it running; it and its processes are killed at the end."""
    started: list[Workers] = []

    def start(*arguments: object, **env: str) -> Workers:
        started.append(Workers(tmp_path, arguments, env))
        return started[-1]

    yield start
    for workers in started:
        workers.process.kill()
        workers.process.wait()
        for pid in workers.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
