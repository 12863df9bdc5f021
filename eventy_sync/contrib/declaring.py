"""Handlers that are written down where they are defined, and subscribed by the worker alone.

To declare one opens no queue and delivers nothing: a web process may import the module.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from eventy_sync.delivery.group_options import check_group
from eventy_sync.event_queue import EventQueue
from eventy_sync.file.subscriptions import check_subscriber
from eventy_sync.models import QueueEvent
from eventy_sync.subscribers import Subscriber

Handler = Callable[[QueueEvent[Any]], Any]


class Declaration(NamedTuple):
    """A handler, and how it is to be subscribed."""

    handler: Any
    options: dict[str, Any]


def make_declaration(handler: Any, options: dict[str, Any]) -> Declaration:
    """Return a handler with the options of `EventQueue.subscribe`.

    Raises:
        InvalidArgumentError: it can never be called with an event, or the group's name is not valid.
    """
    check_subscriber(handler)
    if options.get("group") is not None:
        check_group(options["group"])
    return Declaration(handler, options)


def as_handler(handler: Any, queue: EventQueue[Any]) -> Handler:
    """Return a function of the event."""
    return functools.partial(_call, handler, queue) if isinstance(handler, Subscriber) else handler


def _call(handler: Subscriber[Any], queue: EventQueue[Any], event: QueueEvent[Any]) -> Any:
    return handler.on_event(event, queue)
