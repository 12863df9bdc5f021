"""What `EVENTY_QUEUE_MANAGER` may name."""

from __future__ import annotations

from tempfile import gettempdir

from eventy_sync import FileQueueManager


class Quiet(FileQueueManager):
    """A manager that needs no arguments."""

    def __init__(self) -> None:
        super().__init__(gettempdir())
