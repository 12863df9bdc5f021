"""Subscribers that are objects: they can be stored, compared, wrapped and run in other workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, overload
from uuid import UUID

from eventy_sync.event_queue import EventQueue
from eventy_sync.models import QueueEvent
from eventy_sync.signals import SkipEvent

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S", bound="Subscriber[Any]")

REMEMBER_SECONDS = 86_400.0


class Subscriber(Generic[T]):
    """Derive from this to make a subscriber; a dataclass, pydantic model or msgspec struct is stored."""

    def on_event(self, event: QueueEvent[T], event_queue: EventQueue[T]) -> str | None:
        """Handle one event.  A text that is returned becomes the result's details; an exception makes it a failure."""
        raise TypeError(f"{type(self).__name__} must define on_event(self, event, event_queue)")


@dataclass
class WorkerMatchSubscriber(Subscriber[T]):
    """Runs another subscriber in one worker only."""

    subscriber: Subscriber[T]
    worker_id: UUID

    def on_event(self, event: QueueEvent[T], event_queue: EventQueue[T]) -> str | None:
        """Handle the event if this is the worker, else skip it."""
        if event_queue.get_worker_id() != self.worker_id:
            raise SkipEvent
        return self.subscriber.on_event(event, event_queue)


@dataclass
class NonceSubscriber(Subscriber[T]):
    """Runs another subscriber in one worker for each event: whichever takes the event's claim first.

    A claim is kept for `remember_seconds` after success, so that a worker that is late does not run the
    event again.  When the subscriber fails or its worker dies the claim becomes free, but workers that have
    passed the event by do not come back to it.  Use a `name` of its own for each purpose.
    """

    subscriber: Subscriber[T]
    name: str = "nonce"
    remember_seconds: float = REMEMBER_SECONDS

    def on_event(self, event: QueueEvent[T], event_queue: EventQueue[T]) -> str | None:
        """Handle the event if this worker gets its claim, else skip it."""
        with event_queue.claim(f"{self.name}:{event.id}") as claim:
            if not claim.acquired:
                raise SkipEvent
            details = self.subscriber.on_event(event, event_queue)
            claim.keep(self.remember_seconds)
        return details


class SubscriberDecorator(Protocol[T]):
    """Returns what it decorates: a `Subscriber`, or a function that takes an event."""

    @overload
    def __call__(self, handler: S, /) -> S: ...
    @overload
    def __call__(self, handler: Callable[[QueueEvent[T]], R], /) -> Callable[[QueueEvent[T]], R]: ...
