"""Handlers in each app's ``subscribers.py``: found and run by the worker, and by nobody else.

The decorator only writes down: no queue is opened and nothing delivered where such a module happens to be imported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

from django.db import close_old_connections, reset_queries
from django.utils.module_loading import autodiscover_modules

from eventy_sync.contrib.declaring import Declaration, Handler, make_declaration
from eventy_sync.contrib.django.configuration import DEFAULT_ALIAS
from eventy_sync.models import QueueEvent

MODULE = "subscribers"

F = TypeVar("F")


_declarations: list[tuple[str, Declaration]] = []


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
        _declarations.append((alias, make_declaration(found, options)))
        return found

    return declare if handler is None else declare(handler)


def declared(alias: str) -> list[Declaration]:
    """Import each installed app's ``subscribers.py``, and return what was declared for a queue."""
    autodiscover_modules(MODULE)
    return [each for its_alias, each in _declarations if its_alias == alias]


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
