"""Waiting for what another worker will do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eventy_sync.errors import ResultNotFoundError
from eventy_sync.file.events import check_event_id
from eventy_sync.models import EventResult

if TYPE_CHECKING:
    from eventy_sync.file.engine import Engine

FIRST_PAUSE_SECONDS = 0.001
LONGEST_PAUSE_SECONDS = 0.05


def wait_for_result(opened: Callable[[], Engine[Any]], event_id: int, timeout: float | None) -> EventResult:
    """Return the first result of an event, waiting for it; see `EventQueue.wait_for_result`."""
    check_event_id(event_id)
    deadline = None if timeout is None else time.monotonic() + timeout
    pause_seconds = FIRST_PAUSE_SECONDS
    pause = threading.Event()
    while True:
        page = opened().store.results.search(None, 1, event_id, None, None, None)
        if page.items:
            return page.items[0]
        if opened().dispatcher.lend_a_hand():
            continue
        if deadline is not None and time.monotonic() >= deadline:
            raise ResultNotFoundError(f"event {event_id} has no result after {timeout} seconds; is a worker running?")
        pause.wait(pause_seconds)
        pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
