"""The extension: the queue of an app, and handlers that are declared for it.

An app's queue is made and opened when it is first asked for, once in a process, and closed when the process ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from flask import Flask, current_app

from eventy_sync.contrib.declaring import Declaration, make_declaration
from eventy_sync.contrib.flask.app_queue import EXTENSION, AppQueue, app_queue_of, load_queue, queues
from eventy_sync.contrib.flask.commands import commands
from eventy_sync.contrib.flask.configuration import read_config
from eventy_sync.contrib.process_queues import AnyQueue
from eventy_sync.errors import InvalidArgumentError
from eventy_sync.event_queue import EventQueue

F = TypeVar("F")


class Eventy:
    """The queue of a Flask app.

    ::

        eventy = Eventy(app)

        @app.post("/orders")
        def place_order():
            event = eventy.queue.publish(Order(**request.get_json()))
            return {"event": event.id}, 202

        @eventy.subscriber(group="billing")
        def bill(event): ...

    One object may serve several apps, each with a queue of its own: call `init_app` with each.  Thread safe.
    """

    def __init__(self, app: Flask | None = None) -> None:
        """See `init_app`, which is called if there is an app."""
        # fixed after construction
        self._app = app
        # while modules are imported only
        self._declarations: list[Declaration] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the app's ``EVENTY_*`` config and add ``flask eventy``; the queue is not opened yet.

        Raises:
            InvalidArgumentError: the config is wrong, or the app has a queue already.
        """
        if EXTENSION in app.extensions:
            raise InvalidArgumentError("the app has an Eventy already: call init_app once, or leave it to Eventy(app)")
        app.extensions[EXTENSION] = AppQueue(read_config(app.config), self._declarations)
        app.cli.add_command(commands)

    @property
    def queue(self) -> EventQueue[Any]:
        """The queue of the current app, open: the same one each time in a process.

        Outside of an application context it is that of the app that `Eventy` was made with.  A thread that a request
        starts has no context: hand the queue to it.  Thread safe, and safe to fork afterwards.  A process that
        only publishes has no thread but, for a second after an event, the one that syncs.

        Raises:
            RuntimeError: it cannot be known which app is meant.
            StorageError: the queue cannot be opened.
        """
        return queues.get(self._current_app())

    def _current_app(self) -> Flask:
        if current_app:
            app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
            found = app_queue_of(app)
            if found is not None and found.declarations is self._declarations:  # one of ours
                return app
        if self._app is None:
            raise RuntimeError(
                "it cannot be known which app's queue is meant: use it inside `with app.app_context():`, "
                "of an app that init_app was called with"
            )
        return self._app

    def close(self) -> None:
        """Close the current app's queue, as the end of the process does; the next use opens another."""
        queues.close_one(self._current_app())

    # -- handlers ------------------------------------------------------------------------------------------------

    @overload
    def subscriber(self, handler: F, /) -> F: ...
    @overload
    def subscriber(
        self, /, *, from_index: int | None = ..., group: str | None = ..., **group_options: Any
    ) -> Callable[[F], F]: ...
    def subscriber(
        self,
        handler: Any = None,
        /,
        *,
        from_index: int | None = None,
        group: str | None = None,
        **group_options: Any,
    ) -> Any:
        """Decorate a function to be run on events by ``flask eventy worker``, inside the app's context.

        Use it as ``@eventy.subscriber`` or ``@eventy.subscriber(group="billing")``, with the options of
        `EventQueue.subscribe`; a `Subscriber` object may be passed to it as well.  It opens nothing, and a process that
        serves requests delivers nothing.

        Raises:
            InvalidArgumentError: it can never be called with an event, or the group's name is not valid.
        """
        options = {"from_index": from_index, "group": group, **group_options}

        def declare(found: Any) -> Any:
            self._declarations.append(make_declaration(found, options))
            return found

        return declare if handler is None else declare(handler)

    def worker_queue(self, app: Flask) -> AnyQueue:
        """Return an app's queue with all handlers, not open: for a worker of one's own, and for tests.

        The caller opens and closes it, once in a process.  `queue` is the same one.
        """
        return load_queue(app)
