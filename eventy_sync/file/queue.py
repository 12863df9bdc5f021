"""The file queue: a root that is alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from eventy_sync.file.abstract_queue import AbstractFileEventQueue
from eventy_sync.file.coordinator import Coordinator, LocalCoordinator
from eventy_sync.file.fields import QueueFields, T
from eventy_sync.file.identity import QueueIdentity
from eventy_sync.storage.state import StateStore

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(eq=False)
class FileEventQueue(AbstractFileEventQueue[T]):
    """A durable event queue in one directory, with no server: for one host, any number of processes.

    ::

        with FileEventQueue("orders", payload_type=dict) as queue:
            queue.publish({"id": 7, "total": 12.5})

    Thread safe.  ``with`` blocks may be nested and may run in many threads at once: the queue is open
    from the first to the last.  Safe to fork while open.
    """

    if TYPE_CHECKING:  # what `dataclass` makes, and the payload type with it where that is a class

        @overload
        def __init__(self, root_dir: Path | str, payload_type: type[T], **fields: Unpack[QueueFields]) -> None: ...
        @overload
        def __init__(self, root_dir: Path | str, payload_type: Any = ..., **fields: Unpack[QueueFields]) -> None: ...
        def __init__(self, *args: Any, **fields: Any) -> None: ...

    def _make_coordinator(self, identity: QueueIdentity, store: StateStore) -> Coordinator:
        return LocalCoordinator(Path(self.root_dir), identity, store)
