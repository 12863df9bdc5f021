"""What can be told of an open queue as it happens: how long publishing takes, and how long Redis does.

Nobody is told unless a meter was given, and then nothing is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol, TypeVar

from eventy_sync.file.events import Events
from eventy_sync.models import QueueEvent
from eventy_sync.serializers import Serializer
from eventy_sync.storage.log import EventLog

T = TypeVar("T")


class Meter(Protocol):
    """Is told in whichever thread it happens; thread safe, quick, and never raises."""

    def published(self, seconds: float) -> None:
        """An event, or a batch of them, was published; it took so long until they were as safe as was asked for."""

    def asked_redis(self, seconds: float) -> None:
        """A command was sent to Redis; it took so long until it was answered, or was given up."""


class MeteredEvents(Events[T]):
    """Events that tell a meter what was published."""

    def __init__(self, log: EventLog, serializer: Serializer, payload_type: object, meter: Meter) -> None:
        super().__init__(log, serializer, payload_type)
        self._published = meter.published

    def publish(self, payload: T) -> QueueEvent[T]:
        """See `EventQueue.publish`."""
        begun_at = time.perf_counter()
        event = super().publish(payload)
        self._published(time.perf_counter() - begun_at)
        return event

    def publish_many(self, payloads: Iterable[T]) -> list[QueueEvent[T]]:
        """See `EventQueue.publish_many`."""
        begun_at = time.perf_counter()
        events = super().publish_many(payloads)
        self._published(time.perf_counter() - begun_at)
        return events
