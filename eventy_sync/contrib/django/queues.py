"""The queues that ``EVENTY_SYNC`` describes, by alias, as this process has them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from eventy_sync.contrib.django.at_once import AtOnceQueue
from eventy_sync.contrib.django.configuration import DEFAULT_ALIAS, SETTING, QueueSettings, read_all, unknown_alias
from eventy_sync.contrib.process_queues import AnyQueue, ProcessQueues
from eventy_sync.event_queue import EventQueue
from eventy_sync.serializers import Codec, get_serializer

_codecs: dict[str, Codec] = {}
"""What makes bytes of a queue's payloads, by alias."""


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
    if (codec := _codecs.get(alias)) is None:
        queue = _queues.unopened(alias)
        codec = get_serializer(queue.event_serializer, queue.payload_type).bind(queue.payload_type)
        _codecs[alias] = codec
    codec.encode(payload)


def close_queues() -> None:
    """Close all queues of this process; `get_queue` opens them anew, by the settings as they are then."""
    _codecs.clear()
    for queue in _queues.close():
        if isinstance(queue, AtOnceQueue):
            _remove(queue)


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


def _make(alias: str) -> AnyQueue:
    found = settings_of(alias)
    if not found.at_once:
        return found.make_queue()
    directory = Path(tempfile.mkdtemp(prefix="eventy-"))
    known = {name: found.fields[name] for name in ("payload_type", "name", "event_serializer") if name in found.fields}
    return AtOnceQueue(directory / "queue", **known, alias=found.alias, durability="os")


def _remove(queue: AtOnceQueue) -> None:
    if queue.made_in == os.getpid():  # a fork's child leaves its parent's directory alone
        shutil.rmtree(Path(queue.root_dir).parent, ignore_errors=True)


_queues = ProcessQueues(_make)
atexit.register(close_queues)  # before queues close themselves: what is temporary goes as well


def _setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        close_queues()


setting_changed.connect(_setting_changed, dispatch_uid="eventy_sync.queues")
