"""What ties a worker process to its supervisor: a socket, whose end means that the supervisor is gone.

    supervisor → process:   a `Question` for its bar
    process → supervisor:   "ready" when it delivers, then `Totals`, the answers

Each is a line of JSON.  The kernel closes the socket however the supervisor ends, so no process outlives it for long.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import Any

import msgspec

from eventy_sync.cli.tally import Question, read_totals
from eventy_sync.errors import EventyError
from eventy_sync.event_queue import EventQueue
from eventy_sync.file.running import StopRequests

logger = logging.getLogger(__name__)

READY = b'"ready"\n'


class Lifeline:
    """The process's end.  Asks for a stop when the supervisor is gone."""

    def __init__(self, fd: int, stop: StopRequests) -> None:
        os.set_inheritable(fd, False)  # what handlers start must not hold it
        self._socket = socket.socket(fileno=fd)
        self._stop = stop
        # set once, by `ready`
        self._queue: EventQueue[Any] | None = None
        threading.Thread(target=self._run, name="eventy-lifeline", daemon=True).start()

    def ready(self, queue: EventQueue[Any]) -> None:
        """Tell that this queue is open and delivers."""
        self._queue = queue
        self._send(READY)

    def _run(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._answer(msgspec.json.decode(line, type=Question))
        except OSError:
            pass  # reset: gone as well
        logger.warning("the supervisor is gone: stopping")
        self._stop.ask()

    def _answer(self, question: Question) -> None:
        if self._queue is None:
            return
        try:
            totals = read_totals(self._queue, question)
        except EventyError:
            return  # it is closing, or cannot be read now
        self._send(msgspec.json.encode(totals) + b"\n")

    def _send(self, line: bytes) -> None:
        try:
            self._socket.sendall(line)
        except OSError:
            pass  # the supervisor is gone: the other thread sees to it
