"""`queue.run()`: deliver until a signal says stop."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from eventy_sync.errors import InvalidArgumentError

if TYPE_CHECKING:
    from eventy_sync.event_queue import EventQueue

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve_until_signalled(queue: EventQueue[Any]) -> None:
    """Deliver until SIGINT or SIGTERM.  The first one drains, a second one ends at once.

    Raises:
        InvalidArgumentError: called from another thread than the main one, which alone gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise InvalidArgumentError("run() must be called in the main thread: only that one receives signals")
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    previous = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        with queue:
            queue.request_resync()  # this process delivers: stored subscriptions start here, too
            while not stopping.wait(1.0):  # a bounded wait: on some platforms signals do not end a longer one
                pass
            logger.info("stopping: handlers may finish")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
