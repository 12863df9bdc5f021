"""Waiting for what another worker will do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from eventy_sync.errors import ResultNotFoundError
from eventy_sync.file.events import check_event_id
from eventy_sync.models import EventResult
from eventy_sync.storage.state import ResultTable
from eventy_sync.waking import Hint

if TYPE_CHECKING:
    from eventy_sync.file.engine import Engine
    from eventy_sync.storage.state import ResultTable

FIRST_PAUSE_SECONDS = 0.001
LONGEST_PAUSE_SECONDS = 0.05


def wait_for_result(engine: Engine[Any], event_id: int, timeout: float | None, group: str | None) -> EventResult:
    """Return the first result of an event, waiting for it; see `EventQueue.wait_for_result`."""
    check_event_id(event_id)
    deadline = None if timeout is None else time.monotonic() + timeout
    results = engine.store.results
    with results.stored.hint() as stored:  # before looking, so that no ringing is missed
        version = results.version_of_others()
        while (found := results.first_of(event_id, group)) is None:
            if engine.dispatcher.lend_a_hand():
                continue
            if engine.coordinator.hears_others:
                engine.dispatcher.watch()
            news = _wait_for_news(results, stored, version, deadline)
            if news is None:
                whose = "" if group is None else f" of the group {group!r}"
                raise ResultNotFoundError(
                    f"event {event_id} has no result{whose} after {timeout} seconds; is a worker running?"
                )
            version = news
        return found


def _wait_for_news(results: ResultTable, stored: Hint, version: int, deadline: float | None) -> int | None:
    """Wait until there may be more results, and return the file's version; None when the time is over."""
    pause_seconds = FIRST_PAUSE_SECONDS
    while True:
        if deadline is not None:
            remaining_seconds = deadline - time.monotonic()
            if remaining_seconds <= 0:
                return None
            pause_seconds = min(pause_seconds, remaining_seconds)
        is_rung = stored.wait(pause_seconds)
        now = results.version_of_others()
        if is_rung or now != version:
            return now
        pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
