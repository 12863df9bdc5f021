"""A thread that is there only while there is something to do."""

from __future__ import annotations

import threading
from collections.abc import Callable

from eventy_sync.waking import start_thread


class Background:
    """Does a job, always the same, in a thread of this name.  Thread safe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        # guarded by _lock
        self._thread: threading.Thread | None = None
        self._is_wanted = False
        self._is_over = False

    def start(self, job: Callable[[], None]) -> None:
        """Do this job, once more if it is being done: it may have passed by what it is wanted for."""
        with self._lock:
            self._is_wanted = not self._is_over
            if self._thread is None and self._is_wanted:
                self._thread = start_thread(self._name, self._run, job)

    def _run(self, job: Callable[[], None]) -> None:
        try:
            while self._still_wanted():
                job()
        finally:  # whatever it raises, the next one can be begun
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _still_wanted(self) -> bool:
        with self._lock:
            is_wanted, self._is_wanted = self._is_wanted and not self._is_over, False
            if not is_wanted:
                self._thread = None
            return is_wanted

    def end(self, timeout_seconds: float) -> None:
        """Begin nothing any more, and wait for the job that is being done, unless called from it."""
        with self._lock:
            self._is_over = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_seconds)
