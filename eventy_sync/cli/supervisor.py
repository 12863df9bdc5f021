"""``eventy-sync worker --processes N``: starts worker processes, restarts those that die, and ends them all.

One thread waits for signals, for what the processes say, and for pauses to be over.  The first process is started
alone: what is wrong with the module is said once, and ends the command; whoever dies later is started again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from multiprocessing.connection import wait
from signal import SIGINT, SIGTERM

from eventy_sync.cli.bar import DRAW_SECONDS, Bar
from eventy_sync.cli.signal_inbox import SignalInbox
from eventy_sync.cli.tally import Tally, Totals
from eventy_sync.cli.worker_process import RestartPauses, WorkerProcess, describe_status

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""A look at everything though nothing was heard."""


class Place:
    """One of the processes that should run: who runs there now, or when the next one starts."""

    def __init__(self) -> None:
        self.process: WorkerProcess | None = None
        self.starts_at: float | None = None  # monotonic; None: not yet, or no more
        self.was_ready = False
        self._pauses = RestartPauses()

    def start(self, command: Sequence[str]) -> None:
        """Start a process here; raises OSError."""
        self.starts_at = None
        self.process = WorkerProcess(command)
        logger.info("worker process started: pid=%d", self.process.pid)

    def heard(self) -> list[Totals]:
        """Return what the process has said."""
        if self.process is None:
            return []
        answers = self.process.heard()
        self.was_ready |= self.process.is_ready
        return answers

    def leave(self) -> None:
        """Nobody runs here any more."""
        if self.process is not None:
            self.process.forget()
        self.process = None

    def restart_later(self, lived_seconds: float) -> float:
        """Let another process start after a pause, and return how long it is, in seconds."""
        pause_seconds = self._pauses.after(lived_seconds)
        self.starts_at = time.monotonic() + pause_seconds
        return pause_seconds


class Supervisor:
    """Keeps so many processes of a command running.  For the main thread."""

    def __init__(self, command: Sequence[str], processes: int, *, burst: bool, bar: Bar | None) -> None:
        # fixed after construction
        self._command, self._is_burst, self._bar = command, burst, bar
        self._places = [Place() for _ in range(processes)]
        self._tally = Tally(datetime.now(timezone.utc))
        self._drawn_at = 0.0
        self._is_first_alone = True
        self._was_signalled = self._is_stopping = False
        self._has_failed = False

    def run(self) -> bool:
        """Run until all processes have ended; say whether each ended as it should.

        Raises:
            KeyboardInterrupt: a second signal came; no process is left.
        """
        with SignalInbox() as inbox:
            try:
                self._places[0].starts_at = time.monotonic()
                while self._is_in_use():
                    self._step(inbox)
            finally:
                self._kill_all()
                if self._bar is not None:
                    self._bar.clear()
        return not self._has_failed

    def _is_in_use(self) -> bool:
        return any(place.process is not None or place.starts_at is not None for place in self._places)

    def _step(self, inbox: SignalInbox) -> None:
        sockets = [process.readable for process in self._running() if process.readable is not None]
        wait([inbox.socket, *sockets], self._seconds_to_wait())
        for number in inbox.read():
            if number in (SIGINT, SIGTERM):
                self._signalled()
        for place in self._places:
            self._look_at(place)
        if self._bar is not None:
            self._draw(self._bar)

    def _running(self) -> list[WorkerProcess]:
        return [place.process for place in self._places if place.process is not None]

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        starts = [place.starts_at - now for place in self._places if place.starts_at is not None]
        return max(0.0, min([LOOK_SECONDS if self._bar is None else DRAW_SECONDS, *starts]))

    # -- stopping ------------------------------------------------------------------------------------------------

    def _signalled(self) -> None:
        if self._was_signalled:
            raise KeyboardInterrupt
        self._was_signalled = True
        logger.info("stopping: handlers may finish; a second signal ends at once")
        self._stop()

    def _stop(self) -> None:
        self._is_stopping = True
        for place in self._places:
            place.starts_at = None
        for process in self._running():
            process.terminate()

    def _kill_all(self) -> None:
        for process in self._running():
            process.kill()
        for place in self._places:
            place.leave()

    # -- starting and ending ---------------------------------------------------------------------------------------

    def _look_at(self, place: Place) -> None:
        if place.starts_at is not None and place.starts_at <= time.monotonic():
            self._start(place)
        if place.process is not None:
            self._look_at_process(place, place.process)

    def _start(self, place: Place) -> None:
        try:
            place.start(self._command)
        except OSError as exc:
            self._ended_unasked(place, f"worker process cannot be started: {exc}", 0.0, False)

    def _look_at_process(self, place: Place, process: WorkerProcess) -> None:
        status = process.poll()  # before it is heard: now all that it said is there
        for totals in place.heard():
            self._tally.take(totals)
        if process.is_ready or (status is not None and status < 0):
            self._start_the_others()  # the module can be loaded, or that is not what it died of
        if status is not None:
            place.leave()
            self._ended(place, process, status)

    def _start_the_others(self) -> None:
        if self._is_first_alone and not self._is_stopping:
            self._is_first_alone = False
            for place in self._places[1:]:
                place.starts_at = time.monotonic()

    def _ended(self, place: Place, process: WorkerProcess, status: int) -> None:
        how = f"pid={process.pid} {describe_status(status)}"
        if self._is_stopping:
            if process.is_ready and status != 0:
                self._has_failed = True
                logger.error("worker process did not end well: %s", how)
        elif self._is_burst and process.is_ready and status == 0:
            logger.info("worker process is done: %s", how)
        else:
            self._ended_unasked(place, f"worker process died: {how}", process.lived_seconds(), status < 0)

    def _ended_unasked(self, place: Place, what: str, lived_seconds: float, can_be_started: bool) -> None:
        if place.was_ready or can_be_started:
            pause_seconds = place.restart_later(lived_seconds)
            when = f"in {pause_seconds:.0f} s" if pause_seconds else "at once"
            logger.warning("%s; another starts %s", what, when)
        else:
            self._has_failed = True
            logger.error("%s before it was ready: stopping", what)
            self._stop()

    # -- the bar -------------------------------------------------------------------------------------------------

    def _draw(self, bar: Bar) -> None:
        question = self._tally.question()
        if question is not None:
            any(process.ask(question) for process in self._running())  # one will do: they share the root
        if time.monotonic() - self._drawn_at >= DRAW_SECONDS:
            self._drawn_at = time.monotonic()
            stopping = " · stopping, a second Ctrl-C ends at once" if self._is_stopping else ""
            bar.draw(self._tally.text(len(self._running())) + stopping)
