"""A durable event queue for ordinary threaded Python.

Events are records in files on the local disk.  ``publish()`` returns when the event has its id and is
in the log; subscribers in any process on the same directory get it, in order, at least once.
"""

from typing import TYPE_CHECKING, Any

from eventy_sync.backoff import Backoff
from eventy_sync.default_queue_manager import get_default_queue_manager
from eventy_sync.errors import (
    ClaimLostError,
    ClaimNotFoundError,
    CoordinationError,
    CorruptRecordError,
    EventExpiredError,
    EventNotFoundError,
    EventyError,
    GroupInUseError,
    GroupNotFoundError,
    InvalidArgumentError,
    InvalidPayloadError,
    NotFoundError,
    QueueClosedError,
    QueueFormatError,
    QueueIdentityError,
    RedisConfigurationError,
    ResultNotFoundError,
    StorageError,
    SubscriptionNotFoundError,
)
from eventy_sync.event_queue import EventQueue
from eventy_sync.file import AbstractFileEventQueue, FileEventQueue, FileQueueManager
from eventy_sync.models import Claim, DeadLetter, EventResult, GroupInfo, Page, QueueEvent, Subscription
from eventy_sync.queue_manager import QueueManager
from eventy_sync.serializers import (
    Codec,
    JsonSerializer,
    MessagePackSerializer,
    PickleSerializer,
    PydanticSerializer,
    Serializer,
)
from eventy_sync.signals import RetryEvent, SkipEvent
from eventy_sync.storage.log import Retention
from eventy_sync.subscribers import NonceSubscriber, Subscriber, WorkerMatchSubscriber
from eventy_sync.version import __version__

if TYPE_CHECKING:
    from eventy_sync.redis import RedisFileEventQueue as RedisFileEventQueue
    from eventy_sync.redis import RedisQueueManager as RedisQueueManager

__all__ = [
    "AbstractFileEventQueue",
    "Backoff",
    "Claim",
    "ClaimLostError",
    "ClaimNotFoundError",
    "Codec",
    "CoordinationError",
    "CorruptRecordError",
    "DeadLetter",
    "EventExpiredError",
    "EventNotFoundError",
    "EventQueue",
    "EventResult",
    "EventyError",
    "FileEventQueue",
    "FileQueueManager",
    "GroupInUseError",
    "GroupInfo",
    "GroupNotFoundError",
    "InvalidArgumentError",
    "InvalidPayloadError",
    "JsonSerializer",
    "MessagePackSerializer",
    "NonceSubscriber",
    "NotFoundError",
    "Page",
    "PickleSerializer",
    "PydanticSerializer",
    "QueueClosedError",
    "QueueEvent",
    "QueueFormatError",
    "QueueIdentityError",
    "QueueManager",
    "RedisConfigurationError",
    "ResultNotFoundError",
    "Retention",
    "RetryEvent",
    "Serializer",
    "SkipEvent",
    "StorageError",
    "Subscriber",
    "Subscription",
    "SubscriptionNotFoundError",
    "WorkerMatchSubscriber",
    "__version__",
    "get_default_queue_manager",
]


def __getattr__(name: str) -> Any:
    """Import what needs redis-py when it is first asked for."""
    if name in ("RedisFileEventQueue", "RedisQueueManager"):
        from eventy_sync import redis

        return getattr(redis, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
