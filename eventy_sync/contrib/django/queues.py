"""The queues of this process, by alias: each is made once, opened when it is first used, and closed at the end.

A fork takes the parent's open queues along, as ``gunicorn --preload`` has it: a queue's child half has its own
descriptors, connections and worker id.  Lock order: ours before a queue's own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from eventy_sync.contrib.django.at_once import AtOnceQueue
from eventy_sync.contrib.django.configuration import DEFAULT_ALIAS, SETTING, QueueSettings, read_all, unknown_alias
from eventy_sync.event_queue import EventQueue
from eventy_sync.file import AbstractFileEventQueue
from eventy_sync.serializers import Codec, get_serializer

AnyQueue = AbstractFileEventQueue[Any]


class Queues:
    """Thread safe, and safe to fork."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # guarded by _lock
        self._queues: dict[str, AnyQueue] = {}
        # written under _lock, read without it
        self._opened: dict[str, AnyQueue] = {}
        self._codecs: dict[str, Codec] = {}

    def get(self, alias: str) -> AnyQueue:
        """Return a queue, open."""
        if (queue := self._opened.get(alias)) is None:
            with self._lock:
                queue = self.unopened(alias)
                if alias not in self._opened:
                    queue.open()
                    self._opened[alias] = queue
        return queue

    def unopened(self, alias: str) -> AnyQueue:
        """Return the queue as it is."""
        with self._lock:
            if alias not in self._queues:
                self._queues[alias] = _make(settings_of(alias))
            return self._queues[alias]

    def adopt(self, alias: str) -> AnyQueue:
        """Return a queue that the caller opens and closes; `get` leaves it as it is."""
        with self._lock:
            queue = self.unopened(alias)
            self._opened[alias] = queue
            return queue

    def codec(self, alias: str) -> Codec:
        """Return what makes bytes of a queue's payloads."""
        if (codec := self._codecs.get(alias)) is None:
            queue = self.unopened(alias)
            codec = get_serializer(queue.event_serializer, queue.payload_type).bind(queue.payload_type)
            self._codecs[alias] = codec
        return codec

    def close(self) -> None:
        """Close all, and forget them."""
        with self._lock:
            queues = list(self._queues.values())
            self._queues.clear()
            self._opened.clear()
            self._codecs.clear()
        for queue in queues:
            queue.close()
            if isinstance(queue, AtOnceQueue):
                _remove(queue)

    def before_fork(self) -> None:
        """Let nobody be half way through opening a queue."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on with the parent's queues; nobody else is here to hold the lock."""
        self._lock = threading.RLock()


_queues = Queues()
os.register_at_fork(
    before=_queues.before_fork,
    after_in_parent=_queues.after_fork_in_parent,
    after_in_child=_queues.after_fork_in_child,
)
atexit.register(_queues.close)


def get_queue(alias: str = DEFAULT_ALIAS) -> EventQueue[Any]:
    """Return the queue that ``EVENTY_SYNC[alias]`` describes, open: the same one each time in a process.

    It is opened at the first call and closed when the process ends.  Thread safe, and safe to fork afterwards.
    A process that only publishes has no thread but, for a second after an event, the one that syncs.

    Raises:
        ImproperlyConfigured: the settings are wrong, or have no such alias.
        StorageError: the queue cannot be opened.
    """
    return _queues.get(alias)


def adopt_queue(alias: str) -> AnyQueue:
    """Return the queue that `get_queue` returns, for a caller who opens it, and closes it for good.

    Raises:
        ImproperlyConfigured: the settings are wrong, or have no such alias.
    """
    return _queues.adopt(alias)


def check_payload(alias: str, payload: Any) -> None:
    """Refuse what could not be published, without publishing it.

    Raises:
        InvalidPayloadError: it is not of the queue's payload type, too large or too deep.
    """
    _queues.codec(alias).encode(payload)


def close_queues() -> None:
    """Close all queues of this process; `get_queue` opens them anew, by the settings as they are then."""
    _queues.close()


def settings_of(alias: str) -> QueueSettings:
    """Return what the settings say of a queue.

    Raises:
        ImproperlyConfigured: something that is wrong stands in the way of it; all of that is in the text.
    """
    queues, problems = read_all()
    found = queues.get(alias)
    wrong = [each for each in (problems if found is None else found.problems) if each.number.startswith("E")]
    if found is None and not wrong:
        wrong = [unknown_alias(alias, queues)]
    if found is None or wrong:
        raise ImproperlyConfigured("\n".join(str(each).strip() for each in wrong))
    return found


def _make(found: QueueSettings) -> AnyQueue:
    if not found.at_once:
        return found.make_queue()
    directory = Path(tempfile.mkdtemp(prefix="eventy-"))
    known = {name: found.fields[name] for name in ("payload_type", "name", "event_serializer") if name in found.fields}
    return AtOnceQueue(directory / "queue", **known, alias=found.alias, durability="os")


def _remove(queue: AtOnceQueue) -> None:
    if queue.made_in == os.getpid():  # a fork's child leaves its parent's directory alone
        shutil.rmtree(Path(queue.root_dir).parent, ignore_errors=True)


def _setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        close_queues()


setting_changed.connect(_setting_changed, dispatch_uid="eventy_sync.queues")
