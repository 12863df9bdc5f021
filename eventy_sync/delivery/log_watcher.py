"""The log watcher: one thread a process that looks at the log's end and wakes whoever waits for more.

It looks often while things happen and seldom while they do not: a tenth of the time since the last
event, within bounds.  A look is one system call.  Publishing in this process wakes it at once, where
anybody waits.

Where the kernel tells of writing, one of those who wait, the *scout*, is woken by that: nothing then lies between the
write of another process and the scout's own look.  As long as there is a scout the watcher's thread looks seldom.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from eventy_sync.delivery.stoppable_thread import remaining
from eventy_sync.errors import QueueClosedError, StorageError
from eventy_sync.storage.growth import Growth
from eventy_sync.waking import LONGEST_WAIT_SECONDS, Bell, Hint, start_thread

logger = logging.getLogger(__name__)

FASTEST_SECONDS = 0.0005
SLOWEST_SECONDS = 0.02
IDLE_SHARE = 0.1
TICK_SECONDS = 0.5
EARLY_TICK_SECONDS = 0.05
TOLD_SECONDS = 0.05
SCOUTS_HINTS = 2
"""A scout that is alone is given twice at a ringing: as one who waits, and as the one whom the kernel tells."""
MOST_MISSED = 20
"""After so many events in a row that the scout did not hear of, the kernel is not believed to tell of writing here."""

ERROR_PAUSE_SECONDS = 1.0


class LogWatcher:
    """Watches one log.  Thread safe."""

    def __init__(
        self,
        name: str,
        tail: Callable[[], int],
        on_tick: Callable[[], None],
        on_start: Callable[[], None],
        is_tick_due: Callable[[], bool] = lambda: False,
        directory: Path | None = None,
    ) -> None:
        self._name, self._read_tail, self._on_tick, self._on_start = name, tail, on_tick, on_start
        self._is_tick_due, self._directory = is_tick_due, directory
        self._hint = Hint()
        self._stopping = False
        self._grown = Bell()
        self._expected_id = 0  # a hint only
        self._looking = threading.Lock()
        self._tail = 0  # written with _looking held, once the thread runs
        self._growth: deque[Growth] = deque()  # unless there is a scout, who has it
        self._has_scout = False  # a hint only
        self._missed = 0  # a hint only
        self._lock = threading.Lock()
        # guarded by _lock
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread unless it runs."""
        with self._lock:
            if self._thread is None and not self._stopping:
                self._on_start()
                self._listen()
                self._tail = self._read_tail()
                self._thread = start_thread(self._name, self._run)

    def stop(self) -> None:
        """Ask the thread to end.  Returns at once; whoever waits is woken."""
        self._stopping = True
        self._hint.give()
        self._grown.ring()
        self._stop_listening()

    def join(self, timeout_seconds: float | None = None) -> None:
        """Wait for the thread's end."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_seconds)

    def wake(self) -> None:
        """Say that this process has published.  Costs next to nothing where nobody watches."""
        if self._thread is not None and not self.is_told:
            self._hint.give()

    def look(self) -> None:
        """Look now, in the caller's thread, which is sooner than waking ours; a scout looks itself.  Never raises."""
        if self._thread is None or self.is_told:
            return
        if self._look_quietly():
            self._hint.give()  # more may follow: look often for a while

    def expect(self, event_id: int) -> None:
        """Say that this event may be in the log by now: whoever waits for it looks."""
        if event_id > self._expected_id:
            self._expected_id = event_id
            if not self.is_told:
                self._grown.ring()

    def wake_waiters(self) -> None:
        """Make whoever waits look at what it waits for."""
        self._grown.ring()

    def wait_beyond(
        self, event_id: int, timeout_seconds: float | None, until: Callable[[], bool] = lambda: False
    ) -> bool:
        """Wait until the log goes beyond this id, `until` holds or the watcher stops; say whether the log may do so."""
        self.start()
        has_heard = False

        def is_over() -> bool:
            return self._is_beyond(event_id) or self._stopping or until()

        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._grown.hint() as hint:  # before looking, so that no ringing is missed
            while not has_heard and not is_over() and (seconds := _at_most(remaining(deadline))) > 0:
                if self._growth and not self._has_scout:
                    has_heard = self._scout(is_over, deadline)
                else:
                    hint.wait(seconds)
        return has_heard or self._tail > event_id

    def _is_beyond(self, event_id: int) -> bool:
        if self._tail <= event_id < self._expected_id:
            self.look()
        return self._tail > event_id

    # -- scouting --------------------------------------------------------------------------------------------

    @property
    def is_told(self) -> bool:
        """Whether who waits hears from the kernel: nobody else has to wake it when the log grows."""
        return bool(self._growth) or self._has_scout

    def _listen(self) -> None:
        if self._directory is not None:
            try:
                self._growth.append(Growth(self._directory))
            except OSError as exc:
                logger.debug("the kernel does not tell of writing, looking instead: %s", exc)

    def _stop_listening(self) -> None:
        with suppress(IndexError):
            while True:
                self._growth.pop().close()

    def _scout(self, is_over: Callable[[], bool], deadline: float | None) -> bool:
        """Be woken by the kernel, and look for all who wait, until `is_over` or the deadline; one thread at a time.

        Return whether the kernel has told of something that was not looked at: where nobody else waits, what the
        caller does next is to read it, and the next scout looks.
        """
        try:
            growth = self._growth.pop()
        except IndexError:
            return False
        try:
            self._has_scout = True
            self._grown.add(growth)
            while True:
                if growth.clear():  # first: what is written from here on is told of again
                    self._look_quietly()
                seconds = _at_most(remaining(deadline))
                if is_over() or seconds <= 0 or self._missed >= MOST_MISSED:
                    return False
                if growth.wait(seconds):
                    self._missed = 0
                    if self._grown.hints <= SCOUTS_HINTS:
                        return True
        finally:
            self._has_scout = False
            if self._missed < MOST_MISSED:
                self._growth.append(growth)
            else:
                growth.close()
            self._grown.remove(growth)
            if self._stopping:  # last: stop() may not have found it
                self._stop_listening()
            if self._grown.hints > 1:  # our caller's; counted last, who comes from here on finds a place to take
                self._grown.ring()

    def _look_quietly(self) -> bool:
        """Look; the thread meets what makes it fail, too, and says so."""
        try:
            return self._look()
        except (StorageError, QueueClosedError):
            self._hint.give()
            return True

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        changed_at = ticked_at = time.monotonic()
        failing, seen = False, self._tail
        while not self._stopping:
            now = time.monotonic()
            try:
                if self._look():
                    self._missed += self._has_scout
                if self._tail != seen:
                    changed_at, seen = now, self._tail
                if now - ticked_at >= (EARLY_TICK_SECONDS if self._is_tick_due() else TICK_SECONDS):
                    ticked_at = now
                    self._on_tick()
                failing = False
            except (StorageError, QueueClosedError) as exc:  # closed by the last handler's end, while we looked
                if not failing and not self._stopping:
                    logger.error("the log cannot be watched, trying again: %s", exc)
                failing = True
            pause_seconds = min(max((now - changed_at) * IDLE_SHARE, FASTEST_SECONDS), SLOWEST_SECONDS)
            if self.is_told:
                pause_seconds = TOLD_SECONDS
            self._hint.wait(ERROR_PAUSE_SECONDS if failing else pause_seconds)

    def _look(self) -> bool:
        with self._looking:
            tail = self._read_tail()
            if tail == self._tail:
                return False
            self._tail = tail
        self._grown.ring()
        return True


def _at_most(seconds: float | None) -> float:
    """Return how long to wait at a time."""
    return LONGEST_WAIT_SECONDS if seconds is None else min(seconds, LONGEST_WAIT_SECONDS)
