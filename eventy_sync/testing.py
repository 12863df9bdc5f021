"""Helpers for tests of programs that use a queue: a real one in a temporary directory, delivered by hand.

No thread delivers: handlers run inside `deliver_all`, in the thread of the test.  There they see the test's own
database transaction, application context and patches, and what they raise comes out in the test.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, overload

from eventy_sync.delivery.by_hand import MAX_RUNS, DispatcherByHand
from eventy_sync.errors import InvalidArgumentError
from eventy_sync.event_queue import EventQueue
from eventy_sync.file import AbstractFileEventQueue, FileEventQueue

__all__ = ["deliver_all", "isolated", "temporary_queue"]

T = TypeVar("T")

QUEUE_NAME = "temporary"
"""The directory's name, and the queue's unless `name` is given."""


@overload
def temporary_queue(payload_type: type[T], **fields: Any) -> AbstractContextManager[FileEventQueue[T]]: ...
@overload
def temporary_queue(payload_type: Any = ..., **fields: Any) -> AbstractContextManager[FileEventQueue[Any]]: ...
def temporary_queue(payload_type: Any = Any, **fields: Any) -> AbstractContextManager[FileEventQueue[Any]]:
    """Make a queue in a temporary directory, open for the length of a ``with`` block and gone after it.

    ::

        with temporary_queue(payload_type=Order) as queue:
            queue.subscribe(handle)
            queue.publish(Order(id=7, total=12.5))
            deliver_all(queue)

    It is a `FileEventQueue`; the fields are those, but for `root_dir`.  Its durability is "os" unless given.  Events
    are delivered by `deliver_all`, and when this thread waits for that: in `wait_until_idle` and `wait_for_result`.

    Raises:
        InvalidArgumentError: a field is not known, or its value not valid.
    """
    _check_fields(fields)
    queue: FileEventQueue[Any] = FileEventQueue(QUEUE_NAME, payload_type, **{"durability": "os", **fields})
    return isolated(queue)


def _check_fields(fields: dict[str, Any]) -> None:
    known = {each.name for each in dataclasses.fields(FileEventQueue)} - {"root_dir"}
    if "root_dir" in fields:
        raise InvalidArgumentError("a temporary queue chooses its directory itself: leave root_dir out")
    for name in fields.keys() - known:
        raise InvalidArgumentError(f"a FileEventQueue has no field {name!r:.100}; it has {', '.join(sorted(known))}")


Q = TypeVar("Q", bound=FileEventQueue[Any])


@contextmanager
def isolated(queue: Q) -> Iterator[Q]:
    """Open an application's own queue in a temporary directory, to be delivered by hand, for the length of a block.

    What was declared with ``@queue.subscriber`` is subscribed as usual.  The queue's own directory is not touched; it
    is the queue's again after the block, and the temporary one is gone.  Within the block the queue may be closed and
    opened again: its events stay.

    Raises:
        InvalidArgumentError: it is no `FileEventQueue`, or it is open.
    """
    if not isinstance(queue, FileEventQueue):
        raise InvalidArgumentError(
            f"isolated() takes a FileEventQueue, not {_kind(queue)}: have the application use a FileEventQueue in tests"
        )
    if queue._engine is not None:
        raise InvalidArgumentError(f"the queue {queue.name!r} is open: isolate it before it is opened")
    root_dir, dispatcher_class = queue.root_dir, queue._dispatcher_class
    with tempfile.TemporaryDirectory(prefix="eventy-") as directory:
        queue.root_dir, queue._dispatcher_class = Path(directory) / QUEUE_NAME, DispatcherByHand
        try:
            with queue:
                yield queue
        finally:
            queue.close()
            queue.root_dir, queue._dispatcher_class = root_dir, dispatcher_class


def deliver_all(queue: EventQueue[Any], *, raise_errors: bool = True, max_runs: int = MAX_RUNS) -> int:
    """Run all subscribers, groups included, on all that is there, and return how often a handler was run.

    What handlers publish meanwhile is delivered, too; an event that is published to be delivered later is left until
    then.  Handlers run one after the other in the caller's thread: for each event in the order of their subscribing.

    The first exception of a handler ends it and is raised as it is, with its traceback; before that the failed result
    is stored, as in production.  The next call goes on: with the next event, and for a group with another attempt at
    the one that failed, without waiting.  With ``raise_errors=False`` failures are results only: a group's event is
    tried at once until it is handled or dead.  A handler that raises `RetryEvent` is run again at once.

    Raises:
        InvalidArgumentError: the queue is none of `temporary_queue` or `isolated`, or a handler is the caller.
        QueueClosedError: the queue is closed.
        RuntimeError: handlers ran more than `max_runs` times, as when each publishes an event for the other.
    """
    if not isinstance(queue, AbstractFileEventQueue):
        raise InvalidArgumentError(
            f"deliver_all() takes a queue, not {_kind(queue)}: `with temporary_queue() as queue:` makes one"
        )
    if isinstance(max_runs, bool) or not isinstance(max_runs, int) or max_runs < 1:
        raise InvalidArgumentError(f"max_runs is a whole number from 1 on, not {max_runs!r:.50}")
    dispatcher = queue._opened().dispatcher
    if not isinstance(dispatcher, DispatcherByHand):
        raise InvalidArgumentError(
            f"the queue {queue.name!r} is delivered by threads: use wait_until_idle(), or open it by "
            "`with isolated(queue):` to deliver it by hand"
        )
    return dispatcher.deliver(raises=raise_errors, max_runs=max_runs)


def _kind(thing: object) -> str:
    return thing.__name__ if isinstance(thing, type) else type(thing).__name__
