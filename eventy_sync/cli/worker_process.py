"""A process of a supervisor: a fresh interpreter in a session of its own, and when to start it again."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Sequence

import msgspec

from eventy_sync.cli.lifeline import READY
from eventy_sync.cli.tally import Question, Totals

QUICK_SECONDS = 5.0
"""Who dies sooner than that after its start may do so again."""
LONGEST_PAUSE_SECONDS = 30.0


class WorkerProcess:
    """A running `eventy-sync worker`, which gets its end of a `Lifeline`.

    It is in its own session: Ctrl-C on the terminal reaches the supervisor alone, which passes on one signal.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start it.

        Raises:
            OSError: the system refused.
        """
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            self._process = subprocess.Popen(
                [*command, "--lifeline", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.is_ready = False
        self._started_at = time.monotonic()
        self._is_asked = False
        self._unread = b""

    @property
    def readable(self) -> socket.socket | None:
        """What tells that the process has said something; None when it says no more."""
        return None if self._socket.fileno() < 0 else self._socket

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def lived_seconds(self) -> float:
        """Return for how long it has been there."""
        return time.monotonic() - self._started_at

    def ask(self, question: Question) -> bool:
        """Ask for numbers, unless an answer is still to come; say whether it was asked."""
        if not self.is_ready or self._is_asked or self.readable is None:
            return False
        try:
            self._socket.sendall(msgspec.json.encode(question) + b"\n")
        except OSError:
            return False
        self._is_asked = True
        return True

    def heard(self) -> list[Totals]:
        """Return the answers that have come; never blocks."""
        *lines, self._unread = (self._unread + self._received()).split(b"\n")
        answers = []
        for line in lines:
            if line + b"\n" == READY:
                self.is_ready = True
            else:
                answers.append(msgspec.json.decode(line, type=Totals))
                self._is_asked = False
        return answers

    def _received(self) -> bytes:
        received = b""
        try:
            while self.readable is not None:
                received += (some := self._socket.recv(65536))
                if not some:
                    self._socket.close()
        except BlockingIOError:
            pass
        except OSError:
            self._socket.close()
        return received

    def terminate(self) -> None:
        """Ask it to let handlers finish and to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def forget(self) -> None:
        """Take it from the system's table when it has ended."""
        self._process.wait()
        self._socket.close()


class RestartPauses:
    """How long to wait before a process that died is started again: not at all unless it died soon, and again."""

    def __init__(self) -> None:
        self._quick_deaths = 0

    def after(self, lived_seconds: float) -> float:
        """Return the pause in seconds after a process that lived so long."""
        if lived_seconds >= QUICK_SECONDS:
            self._quick_deaths = 0
            return 0.0
        self._quick_deaths += 1
        return 0.0 if self._quick_deaths == 1 else min(2.0 ** min(self._quick_deaths - 2, 10), LONGEST_PAUSE_SECONDS)


def describe_status(status: int) -> str:
    """Return an exit status as a person says it."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
