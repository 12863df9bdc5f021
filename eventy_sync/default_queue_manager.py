"""The queue manager that the environment describes.

``EVENTY_QUEUE_MANAGER``
    ``module:Class`` of a `QueueManager` that can be called with no arguments.
``EVENTY_ROOT_DIR``
    without that, the directory of a `FileQueueManager`.
``EVENTY_REDIS_URL``, ``EVENTY_REDIS_PASSWORD``, ``EVENTY_REDIS_PREFIX``
    with a URL, that of a `RedisQueueManager` instead; the prefix is that of its keys.
``EVENTY_SERIALIZER``
    the serializer of its queues; "json" unless given.
"""

from __future__ import annotations

import importlib
import os
import threading

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.file import FileQueueManager
from eventy_sync.queue_manager import QueueManager

_default: QueueManager | None = None
_lock = threading.Lock()


def get_default_queue_manager() -> QueueManager:
    """Return the manager the environment describes, always the same one in a process.  Thread safe.

    Raises:
        InvalidArgumentError: the environment names none, or one that cannot be imported.
    """
    global _default
    with _lock:
        if _default is None:
            _default = _from_environment()
        return _default


def _from_environment() -> QueueManager:
    if target := os.environ.get("EVENTY_QUEUE_MANAGER"):
        return _load(target)
    if root_dir := os.environ.get("EVENTY_ROOT_DIR"):
        options = {"event_serializer": os.environ.get("EVENTY_SERIALIZER", "json")}
        if redis_url := os.environ.get("EVENTY_REDIS_URL"):
            return _with_redis(root_dir, options, redis_url)
        return FileQueueManager(root_dir, options)
    raise InvalidArgumentError(
        "set EVENTY_ROOT_DIR to a directory for the queues, or EVENTY_QUEUE_MANAGER to module:Class"
    )


def _with_redis(root_dir: str, options: dict[str, str], redis_url: str) -> QueueManager:
    try:
        from eventy_sync.redis import RedisQueueManager
    except ImportError as exc:
        raise InvalidArgumentError(f"EVENTY_REDIS_URL is set, but {exc}") from exc
    password = os.environ.get("EVENTY_REDIS_PASSWORD") or None  # empty: the URL's
    if prefix := os.environ.get("EVENTY_REDIS_PREFIX"):
        options["redis_prefix"] = prefix
    return RedisQueueManager(root_dir, options, redis_url=redis_url, redis_password=password)


def _load(target: str) -> QueueManager:
    module_name, _, class_name = target.partition(":")
    try:
        manager_class = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError, TypeError) as exc:
        raise InvalidArgumentError(f"EVENTY_QUEUE_MANAGER={target!r:.200} cannot be imported: {exc}") from exc
    if not (isinstance(manager_class, type) and issubclass(manager_class, QueueManager)):
        raise InvalidArgumentError(f"EVENTY_QUEUE_MANAGER={target!r:.200} is no QueueManager class; write module:Class")
    try:
        return manager_class()
    except TypeError as exc:
        raise InvalidArgumentError(f"EVENTY_QUEUE_MANAGER={target!r:.200} cannot be made: {exc}") from exc
