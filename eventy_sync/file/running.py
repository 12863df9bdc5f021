"""`queue.run()`: deliver until a signal says stop, or, in a burst, until nothing is left to do."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any

from eventy_sync.errors import EventyError, InvalidArgumentError, QueueClosedError

if TYPE_CHECKING:
    from eventy_sync.file.abstract_queue import AbstractFileEventQueue

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOST_THREADS = 1000
LOOK_SECONDS = 1.0
"""A bounded wait: on some platforms signals do not end a longer one."""


class StopRequests:
    """What asks a queue that is served to stop: a signal, idleness, a supervisor that is gone.

    Each may ask in any thread and in a signal handler: unlike an `Event`, a `SimpleQueue` may be put to by a
    handler that interrupts its own `get`.
    """

    def __init__(self, *, second_signal_ends: bool = True) -> None:
        # fixed after construction
        self._second_signal_ends = second_signal_ends
        self._requests: SimpleQueue[EventyError | None] = SimpleQueue()
        # main thread only
        self._was_signalled = False

    def ask(self, error: EventyError | None = None) -> None:
        """Ask for a stop, because of this error if there is one."""
        self._requests.put(error)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a request; False if there was none in that time.  Raises the error that it came with."""
        try:
            error = self._requests.get(timeout=timeout_seconds)
        except Empty:
            return False
        if error is not None:
            raise error
        return True

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Have the first SIGINT or SIGTERM ask for a stop, and a second one raise KeyboardInterrupt."""
        previous = {number: signal.signal(number, self._signalled) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._was_signalled and self._second_signal_ends:
            raise KeyboardInterrupt
        self._was_signalled = True
        self.ask()


def serve_until_signalled(
    queue: AbstractFileEventQueue[Any],
    threads: int | None = None,
    burst: bool = False,
    *,
    stop: StopRequests | None = None,
    on_open: Callable[[], None] = lambda: None,
) -> None:
    """Deliver until SIGINT or SIGTERM, or until `stop` is asked: handlers may finish.  A second signal ends at once.

    Arguments:
        threads: how many handlers of a group run at a time where its subscription does not say.
        burst: end, too, when all that is in the log has been handled and nothing came meanwhile.
        stop: where others may ask for the end.
        on_open: called when the queue is open and delivers.

    Raises:
        InvalidArgumentError: `threads` is not valid, or this is not the main thread, which alone gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise InvalidArgumentError("run() must be called in the main thread: only that one receives signals")
    if threads is not None:
        queue._set_default_concurrency(check_threads(threads))
    stop = stop or StopRequests()
    with stop.on_signals(), queue:
        try:
            queue.request_resync()  # this process delivers: stored subscriptions start here, too
            on_open()
            if burst:
                threading.Thread(target=_ask_when_idle, args=(queue, stop), name="eventy-burst", daemon=True).start()
            while not stop.wait(LOOK_SECONDS):
                pass
            logger.info("stopping: handlers may finish")
        except KeyboardInterrupt:  # the second signal came before the end of the block: that must not wait any more
            queue.close(0)
            raise


def check_threads(threads: int) -> int:
    """Return a number of threads, or raise InvalidArgumentError."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise InvalidArgumentError(f"threads must be a whole number from 1 to {MOST_THREADS}, not {threads!r:.50}")
    return threads


def _ask_when_idle(queue: AbstractFileEventQueue[Any], stop: StopRequests) -> None:
    """Ask for a stop when all is handled, what handlers published meanwhile included."""
    try:
        tail = -1
        while tail != queue.health()["tail"]:
            tail = queue.health()["tail"]
            queue.wait_until_idle()
        stop.ask()
    except QueueClosedError:
        pass  # a signal came first
    except EventyError as exc:
        stop.ask(exc)
