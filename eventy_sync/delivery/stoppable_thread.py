"""A thread that can be asked to end, and that knows whether its caller runs in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class StoppableThread:
    """Verbs: start, stop, join.  What runs in it looks at `stopping`."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=run, name=name, daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for an end after the current event.  Returns at once; join to wait."""
        self.stopping.set()

    def join(self, timeout_seconds: float | None) -> bool:
        """Wait for the end; say whether it has come.  From inside the handler: does not wait, says no."""
        if self.is_current():
            return False
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def is_current(self) -> bool:
        """Return whether the caller runs in this thread."""
        return self._thread is threading.current_thread()


def remaining(deadline: float | None) -> float | None:
    """Return the seconds until a monotonic deadline, 0.0 once it has passed; None for none."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
