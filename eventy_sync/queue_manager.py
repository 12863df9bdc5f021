"""Queues by payload type, so that an application names its types and not its directories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from eventy_sync.event_queue import EventQueue


class QueueManager(ABC):
    """Gives an application its queues.  Use it as ``with manager:``; its queues are open inside.  Thread safe."""

    @abstractmethod
    def register(self, payload_type: Any) -> None:
        """Make a queue for this type, unless there is one; it is opened at once inside ``with manager:``.

        Raises:
            InvalidArgumentError: the type cannot be stored.
            StorageError: the queue cannot be opened.
        """

    @abstractmethod
    def deregister(self, payload_type: Any) -> None:
        """Close the queue of this type and forget it.  Its events stay on disk."""

    @abstractmethod
    def get_event_queue(self, payload_type: Any) -> EventQueue[Any]:
        """Return the queue of this type.

        Raises:
            InvalidArgumentError: the type was not registered.
        """

    @abstractmethod
    def get_queue_types(self) -> list[Any]:
        """Return the types that are registered."""

    @abstractmethod
    def __enter__(self) -> QueueManager:
        """Open all queues."""

    @abstractmethod
    def __exit__(self, *exc_info: object) -> None:
        """Close all queues when the last ``with`` block ends."""
