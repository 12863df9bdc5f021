"""Processes of the demos: started so that Ctrl-C never leaves one running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

END_SECONDS = 10.0


_came: list[int] = []


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C back until the end of the block: what is started inside must be known before it comes.

    Blocks may be nested: one that came in an outer block before comes at the end of the inner one.
    """
    before = signal.signal(signal.SIGINT, lambda number, frame: _came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if _came:
        _came.clear()
        raise KeyboardInterrupt


class Processes:
    """Python processes that Ctrl-C does not reach; all are ended with the ``with`` block."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, source: str, *arguments: object, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process that runs this source."""
        command = [sys.executable, "-c", source, *map(str, arguments)]
        with interrupts_held():
            process = subprocess.Popen(command, start_new_session=True, env={**os.environ, **environment})
            self._running.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End one with -9."""
        process.kill()
        process.wait()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill(process)
