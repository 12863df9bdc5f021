"""Signals as numbers to be read, in place of handlers that interrupt what is being done."""

from __future__ import annotations

import signal
import socket
from types import FrameType, TracebackType

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


class SignalInbox:
    """Collects SIGINT, SIGTERM and SIGCHLD for the length of a ``with`` block.  For the main thread."""

    def __enter__(self) -> SignalInbox:
        self.socket, self._theirs = socket.socketpair()
        self.socket.setblocking(False)
        self._theirs.setblocking(False)
        self._fd_before = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _written_by_the_interpreter) for number in CAUGHT}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self.socket.close()
        self._theirs.close()

    def read(self) -> list[int]:
        """Return the signals that came since the last time, in order."""
        try:
            return list(self.socket.recv(4096))
        except BlockingIOError:
            return []


def _written_by_the_interpreter(number: int, frame: FrameType | None) -> None:
    """Do nothing: a signal that has a handler is written to the wakeup descriptor."""
