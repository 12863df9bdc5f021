"""The delivery thread: runs one subscription on one event after the other.

A handler's failure is a result, never the end of the thread.  A record that cannot be read is reported
once, as a failed result and in the log, and delivery goes on behind it.  An event that is not due yet is passed by, and
handed out when it is, before whatever comes next then; those that are due together in the order of their times.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from eventy_sync.delivery.delayed import Delayed, seconds_until
from eventy_sync.delivery.failures import describe, printable
from eventy_sync.delivery.log_watcher import LogWatcher
from eventy_sync.delivery.result_buffer import ResultBuffer
from eventy_sync.delivery.stoppable_thread import StoppableThread
from eventy_sync.errors import CorruptRecordError, EventNotFoundError, InvalidPayloadError, StorageError
from eventy_sync.identifiers import new_id
from eventy_sync.models import EventResult, QueueEvent
from eventy_sync.signals import RetryEvent, SkipEvent
from eventy_sync.storage.log import LogReader, StoredRecord

logger = logging.getLogger(__name__)

BATCH_EVENTS = 100
IDLE_SECONDS = 5.0
ERROR_PAUSE_SECONDS = 1.0

Handler = Callable[[QueueEvent[Any]], Any]


class DeliveryThread(StoppableThread):
    """Verbs: start, stop, join.  `idle_id` and the counters may be read from any thread."""

    def __init__(
        self,
        *,
        name: str,
        subscription_id: UUID,
        worker_id: UUID,
        handler: Handler,
        reader: LogReader,
        get: Callable[[int], StoredRecord],
        watcher: LogWatcher,
        decode: Callable[[StoredRecord], QueueEvent[Any]],
        store_results: Callable[[Sequence[EventResult]], None],
        on_progress: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(name, self._run)
        # fixed after construction
        self.subscription_id = subscription_id
        self._worker_id, self._handler, self._decode = worker_id, handler, decode
        self._get, self._watcher, self._on_progress, self._on_end = get, watcher, on_progress, on_end
        # delivery thread only
        self._reader = reader
        self._results = ResultBuffer(store_results)
        self._delayed = Delayed()
        # written by the delivery thread, read by others
        self.idle_id = reader.next_id - 1  # up to here all is handled and its results are stored
        self.lost_events = 0
        self.corrupt_records = 0

    def stop(self) -> None:
        """Ask for an end after the current event.  Returns at once; join to wait."""
        super().stop()
        self._watcher.wake_waiters()

    def has_handled(self, event_id: int) -> bool:
        """Return whether all events up to this one that are due are handled and their results stored."""
        return self.idle_id >= event_id and not self._delayed.has_due(event_id)

    def _run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._deliver_what_is_there()
        finally:
            self._results.flush(at_end=True)
            self._reader.close()
            self._on_end()

    def _deliver_what_is_there(self) -> None:
        try:
            items = self._reader.read(BATCH_EVENTS)
        except StorageError as exc:
            logger.error("the log cannot be read, trying again: %s", exc)
            self.stopping.wait(ERROR_PAUSE_SECONDS)
            return
        for item in items:
            self._deliver_due()
            if self.stopping.is_set():
                return
            self._deliver(item)
        if not items and not self._deliver_due():
            self._wait_for_more()

    def _deliver_due(self) -> bool:
        """Hand out the delayed events that are due; return whether there were any."""
        found = False
        while (event_id := self._delayed.next_due()) is not None and not self.stopping.is_set():
            found, self.idle_id = True, min(self.idle_id, event_id - 1)
            try:
                item: StoredRecord | CorruptRecordError = self._get(event_id)
            except CorruptRecordError as damage:
                item = damage
            except EventNotFoundError as exc:
                self._report_gone(event_id, exc)
                continue
            except StorageError as exc:
                logger.error("a delayed event cannot be read, trying again: event=%d error=%s", event_id, exc)
                self.stopping.wait(ERROR_PAUSE_SECONDS)
                break
            self._delayed.pop()
            self._deliver(item)
        return found

    def _deliver(self, item: StoredRecord | CorruptRecordError) -> None:
        if isinstance(item, CorruptRecordError):
            self._report_lost(item)
        elif item.due is not None and seconds_until(item.due) > 0:
            self._delayed.put(item.id, item.due)
        else:
            try:
                event = self._decode(item)
            except InvalidPayloadError as exc:
                self._record(item.id, False, str(exc), 0.0)
            else:
                self._handle(event)

    def _wait_for_more(self) -> None:
        is_stored = self._results.flush()
        if is_stored:
            self.idle_id = self._reader.next_id - 1
            self._on_progress()
        seconds = self._delayed.wait_seconds(IDLE_SECONDS if is_stored else ERROR_PAUSE_SECONDS)
        self._watcher.wait_beyond(self._reader.next_id - 1, seconds, self.stopping.is_set)

    def _report_lost(self, damage: CorruptRecordError) -> None:
        logger.error("events lost, delivery goes on behind them: %s", damage)
        self.corrupt_records += 1
        self.lost_events += damage.last_id - damage.first_id + 1
        self._record(damage.first_id, False, str(damage), 0.0)

    def _report_gone(self, event_id: int, exc: EventNotFoundError) -> None:
        """Say that retention has not waited until the event was due."""
        logger.error("a delayed event is lost: %s", exc)
        self._delayed.pop()
        self.lost_events += 1
        self._record(event_id, False, str(exc), 0.0)

    def _handle(self, event: QueueEvent[Any]) -> None:
        """Run the handler on one event, again if it asks for that."""
        attempt = 1
        while (delay_seconds := self._attempt(event, attempt)) is not None:
            self._results.flush()
            if self.stopping.wait(delay_seconds):
                return
            attempt += 1

    def _attempt(self, event: QueueEvent[Any], attempt: int) -> float | None:
        """Run the handler once; return the seconds after which it wants to be run again, or None."""
        started = time.perf_counter()
        text: str | None
        try:
            details = self._handler(event)
        except SkipEvent:
            return None
        except RetryEvent as again:
            return again.delay_seconds
        except (Exception, SystemExit) as exc:  # sys.exit() in a handler must not end delivery unseen
            logger.warning("handler failed: event=%d error=%s", event.id, type(exc).__qualname__)
            success, text = False, describe(exc)
        else:
            success, text = True, printable(details) if isinstance(details, str) else None
        self._record(event.id, success, text, time.perf_counter() - started, attempt)
        return None

    def _record(
        self, event_id: int, success: bool, details: str | None, duration_seconds: float, attempt: int = 1
    ) -> None:
        now = datetime.now(timezone.utc)
        self._results.add(
            EventResult(
                id=new_id(now),
                event_id=event_id,
                worker_id=self._worker_id,
                success=success,
                details=details,
                created_at=now,
                subscription_id=self.subscription_id,
                attempt=attempt,
                duration_seconds=duration_seconds,
            )
        )
