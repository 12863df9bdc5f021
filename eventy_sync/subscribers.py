"""Subscribers that are objects: they can be stored, compared, wrapped and run in other workers.

A stored subscriber is its class's name, as ``module:qualified.name``, and its fields as JSON.  It is
brought back only where that class exists already: nothing on disk can make this module import anything.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints
from uuid import UUID

import msgspec

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.event_queue import EventQueue
from eventy_sync.models import QueueEvent
from eventy_sync.signals import SkipEvent

T = TypeVar("T")

_TAG = "eventy:subscriber"
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


def encode_subscriber(subscriber: Any) -> tuple[str, bytes] | None:
    """Return a subscriber's type name and fields as JSON; None for one that is not to be stored.

    Raises:
        InvalidArgumentError: a field cannot be stored.
    """
    if not isinstance(subscriber, Subscriber) or _field_names(type(subscriber)) is None:
        return None
    try:
        tagged = _to_plain(subscriber)
        return tagged[_TAG], json.dumps(tagged["fields"], allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidArgumentError(f"a field of {type(subscriber).__name__} cannot be stored: {exc}") from exc


def decode_subscriber(type_name: str, body: bytes) -> Subscriber[Any] | None:
    """Return a stored subscriber; None if its class is not imported in this process.

    Raises:
        InvalidArgumentError: the fields do not fit the class.
    """
    cls = _find_class(type_name)
    if cls is None:
        return None
    try:
        return _build(cls, msgspec.json.decode(body, type=dict[str, Any]))
    except (TypeError, ValueError, KeyError, RecursionError, msgspec.MsgspecError) as exc:
        raise InvalidArgumentError(f"the stored fields of {type_name!r:.200} do not fit its class: {exc}") from exc


def _field_names(cls: type) -> list[str] | None:
    """Return the names of the fields that make up an instance; None if the class has none to speak of."""
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls) if field.init]
    for attribute in ("__struct_fields__", "model_fields"):
        if (names := getattr(cls, attribute, None)) is not None:
            return list(names)
    return None


def _to_plain(value: Any) -> Any:
    """Return a field's value as plain JSON values; a subscriber in it becomes a tagged object."""
    names = _field_names(type(value)) if isinstance(value, Subscriber) else None
    if names is not None:
        name = f"{type(value).__module__}:{type(value).__qualname__}"
        return {_TAG: name, "fields": {each: _to_plain(getattr(value, each)) for each in names}}
    if isinstance(value, Subscriber):
        raise TypeError(f"{type(value).__name__} is no dataclass, pydantic model or msgspec struct")
    return msgspec.to_builtins(value)


def _find_class(type_name: str) -> type[Subscriber[Any]] | None:
    module_name, _, qualified = type_name.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Subscriber) else None


class _Nested(msgspec.Struct):
    """A subscriber that is another one's field."""

    type_name: str
    fields: dict[str, Any]


def _build(cls: type[Subscriber[Any]], fields: dict[str, Any]) -> Subscriber[Any]:
    """Make an instance from plain values, checked against the annotations."""
    nested = {name: _build_nested(value) for name, value in fields.items() if isinstance(value, dict) and _TAG in value}
    validate = getattr(cls, "model_validate", None)
    if validate is not None:
        built: Subscriber[Any] = validate({**fields, **nested})
        return built
    hints = _hints(cls)
    plain = {
        name: msgspec.convert(value, hints.get(name, Any), strict=False)
        for name, value in fields.items()
        if name not in nested
    }
    return cls(**plain, **nested)


def _build_nested(tagged: dict[str, Any]) -> Subscriber[Any]:
    nested = msgspec.convert({"type_name": tagged[_TAG], **tagged}, _Nested)
    cls = _find_class(nested.type_name)
    if cls is None:
        raise ValueError(f"the class {nested.type_name!r:.200} of a field is not imported here")
    return _build(cls, nested.fields)


def _hints(cls: type) -> dict[str, Any]:
    """Return the fields' types where they can be resolved; others are taken as they are."""
    try:
        return get_type_hints(cls)
    except NameError:
        return {}
