"""A queue for tests: each event is delivered in the thread that publishes it, before `publish` returns.

Events are really written, to a temporary root, and what handlers get has been read back: a payload that does not
survive its serializer fails the test.  What a handler raises comes out of `publish`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eventy_sync.contrib.declaring import Declaration, Handler, as_handler
from eventy_sync.contrib.django.subscribing import declared
from eventy_sync.file import FileEventQueue
from eventy_sync.group_work import MAX_ATTEMPTS
from eventy_sync.models import QueueEvent
from eventy_sync.signals import RetryEvent, SkipEvent


@dataclass(eq=False)
class AtOnceQueue(FileEventQueue[Any]):
    """Delivers to all that apps have declared for its alias; one handler of each group gets an event.

    Delays are not waited for, and a handler that raises `RetryEvent` is run again without a pause.
    """

    alias: str = "default"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.made_in = os.getpid()
        self._delivered_lock = threading.Lock()
        # guarded by _delivered_lock
        self._delivered: set[int] = set()

    def publish(self, payload: Any, **options: Any) -> QueueEvent[Any]:
        """Publish, and deliver; see `EventQueue.publish`.  What a handler raises, this raises."""
        event = super().publish(payload, **options)
        self._deliver(event.id)
        return event

    def publish_many(self, payloads: Iterable[Any], **options: Any) -> list[QueueEvent[Any]]:
        """Publish, and deliver; see `EventQueue.publish_many`.  What a handler raises, this raises."""
        events = super().publish_many(payloads, **options)
        for each in events:
            self._deliver(each.id)
        return events

    def _deliver(self, event_id: int) -> None:
        with self._delivered_lock:
            if event_id in self._delivered:
                return  # it was there: published with the key of an earlier one
            self._delivered.add(event_id)
        groups = set()
        for each in declared(self.alias):
            group = each.options["group"]
            if group is None or group not in groups:
                _handle(as_handler(each.handler, self), self.get_event(event_id), _attempts(each))
            groups.add(group)


def _attempts(declaration: Declaration) -> int:
    most: int = declaration.options.get("max_attempts", MAX_ATTEMPTS)
    return most


def _handle(handler: Handler, event: QueueEvent[Any], attempts_left: int) -> None:
    try:
        handler(event)
    except SkipEvent:
        pass
    except RetryEvent:
        if attempts_left <= 1:
            raise
        _handle(handler, event, attempts_left - 1)
