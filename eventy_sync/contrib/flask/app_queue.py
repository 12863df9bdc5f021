"""An app's queue: what its config says, the handlers that are declared for it, and the queue as this process has it."""

from __future__ import annotations

import functools
import logging
from typing import Any, NamedTuple

from flask import Flask

from eventy_sync.contrib.declaring import Declaration, Handler, as_handler
from eventy_sync.contrib.process_queues import AnyQueue, ProcessQueues
from eventy_sync.contrib.settings import QueueSettings
from eventy_sync.models import QueueEvent

logger = logging.getLogger(__name__)

EXTENSION = "eventy"


class AppQueue(NamedTuple):
    """What an app keeps among its extensions.  The declarations may grow until a worker starts."""

    settings: QueueSettings
    declarations: list[Declaration]


def app_queue_of(app: Flask) -> AppQueue | None:
    """Return what the app keeps."""
    found: AppQueue | None = app.extensions.get(EXTENSION)
    return found


def _make(app: Flask) -> AnyQueue:
    found = app_queue_of(app)
    assert found is not None
    return found.settings.make_queue()


queues = ProcessQueues(_make)


def load_queue(app: Flask) -> AnyQueue:
    """Return an app's queue with all handlers, not open; it is the one of this process, to handlers that publish."""
    queue = queues.adopt(app)
    found = app_queue_of(app)
    declarations = found.declarations if found is not None else []
    for each in declarations:
        queue.subscriber(_in_context(app, as_handler(each.handler, queue)), **each.options)
    if not declarations:
        logger.warning("nothing that the app %r imports has a @subscriber of its Eventy", app.name)
    return queue


def _in_context(app: Flask, handler: Handler) -> Handler:
    """Return the handler, with a context of the app around each event, as there is around a request."""

    def handle(event: QueueEvent[Any]) -> Any:
        with app.app_context():
            return handler(event)

    return functools.update_wrapper(handle, handler)
