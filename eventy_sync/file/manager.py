"""One file queue for each payload type, under one directory."""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from eventy_sync.errors import EventyError, InvalidArgumentError
from eventy_sync.event_queue import EventQueue
from eventy_sync.file.abstract_queue import CLOSE_TIMEOUT_SECONDS, AbstractFileEventQueue, close_engine
from eventy_sync.file.queue import FileEventQueue
from eventy_sync.queue_manager import QueueManager

MAX_NAME_CHARACTERS = 180
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


def queue_name(payload_type: Any) -> str:
    """Return the directory name for a payload type: its module and name.

    What files cannot bear becomes ``-``; then a checksum keeps types apart that would be called the same.
    """
    module, name = getattr(payload_type, "__module__", ""), getattr(payload_type, "__qualname__", "")
    text = f"{module}.{name}" if module and name and "[" not in str(payload_type) else str(payload_type)
    text = text.removeprefix("builtins.")
    plain = _NOT_IN_NAMES.sub("-", text).strip("-.")[:MAX_NAME_CHARACTERS]
    return plain if plain == text else f"{plain or 'queue'}-{sha256(text.encode(errors='replace')).hexdigest()[:8]}"


@dataclass(eq=False)
class FileQueueManager(QueueManager):
    """Opens a `FileEventQueue` for each registered payload type.  Thread safe.

    Fields:
        root_dir: the directory that holds a root for each payload type.
        queue_options: further fields for each queue, such as ``{"durability": "fsync"}``.
    """

    root_dir: Path | str
    queue_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        # guarded by _lock
        self._queues: dict[str, AbstractFileEventQueue[Any]] = {}
        self._users = 0

    def _make_queue(self, root_dir: Path, payload_type: Any) -> AbstractFileEventQueue[Any]:
        return FileEventQueue(root_dir, payload_type, **self.queue_options)

    def register(self, payload_type: Any) -> None:
        name = queue_name(payload_type)
        with self._lock:
            if name in self._queues:
                return
            queue = self._make_queue(Path(self.root_dir) / name, payload_type)
            if self._users:
                queue.open()
            self._queues[name] = queue

    def deregister(self, payload_type: Any) -> None:
        with self._lock:
            queue = self._queues.pop(queue_name(payload_type), None)
        if queue is not None:
            queue.close()

    def get_event_queue(self, payload_type: Any) -> EventQueue[Any]:
        with self._lock:
            queue = self._queues.get(queue_name(payload_type))
        if queue is None:
            raise InvalidArgumentError(
                f"no queue is registered for {payload_type!r:.200}: call register() with it first"
            )
        return queue

    def get_queue_types(self) -> list[Any]:
        with self._lock:
            return [queue.payload_type for queue in self._queues.values()]

    def __enter__(self) -> FileQueueManager:
        with self._lock, ExitStack() as opened:
            for queue in self._queues.values():
                queue.open()
                if not self._users:
                    opened.callback(queue.close)
            self._users += 1
            opened.pop_all()  # all of them are open: nothing to take back
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._users = max(0, self._users - 1)
            # under the same lock: whoever enters now opens other engines, and is not left with ones that close
            engines = [] if self._users else [queue.take_engine() for queue in self._queues.values()]
        errors: list[EventyError] = []
        for engine in engines:
            try:
                close_engine(engine, CLOSE_TIMEOUT_SECONDS)
            except EventyError as exc:
                errors.append(exc)
        if errors:
            raise errors[0]
