"""Handlers in each app's ``subscribers.py``: found and run by the worker, and by nobody else.

The decorator only writes down: no queue is opened and nothing delivered where such a module happens to be imported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, overload

from django.db import close_old_connections, reset_queries
from django.utils.module_loading import autodiscover_modules

from eventy_sync.contrib.django.configuration import DEFAULT_ALIAS
from eventy_sync.delivery.group_options import check_group
from eventy_sync.event_queue import EventQueue
from eventy_sync.file.subscriptions import check_subscriber
from eventy_sync.models import QueueEvent
from eventy_sync.subscribers import Subscriber

MODULE = "subscribers"

Handler = Callable[[QueueEvent[Any]], Any]
F = TypeVar("F")


class Declaration(NamedTuple):
    """A handler, and how it is to be subscribed."""

    alias: str
    handler: Any
    options: dict[str, Any]


_declarations: list[Declaration] = []


@overload
def subscriber(handler: F, /) -> F: ...
@overload
def subscriber(
    *, alias: str = ..., from_index: int | None = ..., group: str | None = ..., **group_options: Any
) -> Callable[[F], F]: ...
def subscriber(
    handler: Any = None,
    /,
    *,
    alias: str = DEFAULT_ALIAS,
    from_index: int | None = None,
    group: str | None = None,
    **group_options: Any,
) -> Any:
    """Decorate a function in an app's ``subscribers.py`` to be run on events by ``manage.py eventy_worker``.

    Use it as ``@subscriber`` or ``@subscriber(group="billing")``, with the options of `EventQueue.subscribe`; a
    `Subscriber` object may be passed to it as well.  Database connections that are too old or broken are closed before
    and after each event, as Django does around requests.

    Raises:
        InvalidArgumentError: it can never be called with an event, or the group's name is not valid.
    """
    options = {"from_index": from_index, "group": group, **group_options}

    def declare(found: Any) -> Any:
        check_subscriber(found)
        if group is not None:
            check_group(group)
        _declarations.append(Declaration(alias, found, options))
        return found

    return declare if handler is None else declare(handler)


def declared(alias: str) -> list[Declaration]:
    """Import each installed app's ``subscribers.py``, and return what was declared for a queue."""
    autodiscover_modules(MODULE)
    return [each for each in _declarations if each.alias == alias]


def as_handler(handler: Any, queue: EventQueue[Any]) -> Handler:
    """Return a function of the event."""
    return functools.partial(_call, handler, queue) if isinstance(handler, Subscriber) else handler


def _call(handler: Subscriber[Any], queue: EventQueue[Any], event: QueueEvent[Any]) -> Any:
    return handler.on_event(event, queue)


def with_fresh_connections(handler: Handler) -> Handler:
    """Return the handler, with what Django does to its database connections around a request."""

    def handle(event: QueueEvent[Any]) -> Any:
        reset_queries()  # with DEBUG they are kept
        close_old_connections()
        try:
            return handler(event)
        finally:
            close_old_connections()

    return functools.update_wrapper(handle, handler)
