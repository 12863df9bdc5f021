"""A queue on files as a type checker sees it made: its payload type, and its fields but for the first two.

A dataclass cannot say that ``payload_type=Order`` makes a queue of orders, and that any other value, such as
``Order | Refund``, makes one of what its annotation says; an overloaded ``__init__`` can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict
from uuid import UUID

from eventy_sync.serializers import Serializer
from eventy_sync.storage.log import Durability, Retention

if TYPE_CHECKING:  # the checker's own, nothing to be installed: T is Any where nothing says what it is
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")


class QueueFields(TypedDict, total=False):
    """See `AbstractFileEventQueue`."""

    name: str | None
    worker_id: UUID
    event_serializer: str | Serializer
    durability: Durability
    segment_bytes: int
    retention: Retention | None
    claim_expiration_seconds: float
