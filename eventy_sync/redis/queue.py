"""The file queue with Redis as its coordinator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload
from uuid import UUID

from eventy_sync.errors import InvalidArgumentError, QueueIdentityError
from eventy_sync.file import AbstractFileEventQueue
from eventy_sync.file.coordinator import Coordinator
from eventy_sync.file.fields import QueueFields, T
from eventy_sync.file.identity import QueueIdentity, SharedName
from eventy_sync.redis.coordinator import RedisCoordinator
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.operations import KnownRoot, KnownWorker
from eventy_sync.redis.server_address import make_pool, pool_of
from eventy_sync.redis.site import Site
from eventy_sync.storage.log import LogEnd
from eventy_sync.storage.state import StateStore

if TYPE_CHECKING:
    from typing_extensions import Unpack


class RedisQueueFields(QueueFields, total=False):
    """The fields of a `RedisFileEventQueue`, as a type checker sees them in a call."""

    redis_url: str
    redis_db: int
    redis_password: str | None
    redis_prefix: str
    resync_lock_timeout_seconds: float
    resync: bool
    journal_length: int
    redis_client: Any


@dataclass(eq=False)
class RedisFileEventQueue(AbstractFileEventQueue[T]):
    """A durable event queue that workers on several hosts share; each host has its own directory.

    ::

        with RedisFileEventQueue("orders", payload_type=Order, redis_url="redis://localhost:6379") as queue:
            queue.publish(Order(id=7, total=12.5))

    It has the fields of `AbstractFileEventQueue`, and these:

    Fields:
        redis_url: where the server is: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://`` or
            ``redis+cluster://``; see ``docs/redis.rst``.
        redis_db, redis_password: in place of those in the URL.
        redis_prefix: the keys' first part, so that several installations may share a server.
        resync: a new, empty root gets the whole log from another one, instead of starting at the present.
        resync_lock_timeout_seconds: so long one root waits for another to answer, and holds the lock meanwhile.
        journal_length: about so many recent events are kept in Redis for roots that were away.
        redis_client: a ready client of redis-py in place of the URL: its way to the server is taken over, its
            retries are not.

    Thread safe.  Safe to fork while open: the child has connections of its own.
    """

    _tells_others: ClassVar[bool] = True

    redis_url: str = field(default="redis://localhost:6379", repr=False)
    redis_db: int = 0
    redis_password: str | None = field(default=None, repr=False)
    redis_prefix: str = "eventy"
    resync_lock_timeout_seconds: float = 30.0
    resync: bool = False
    journal_length: int = 10_000
    redis_client: Any = field(default=None, repr=False)

    if TYPE_CHECKING:  # what `dataclass` makes, and the payload type with it where that is a class

        @overload
        def __init__(self, root_dir: Path | str, payload_type: type[T], **fields: Unpack[RedisQueueFields]) -> None: ...
        @overload
        def __init__(
            self, root_dir: Path | str, payload_type: Any = ..., **fields: Unpack[RedisQueueFields]
        ) -> None: ...
        def __init__(self, *args: Any, **fields: Any) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.journal_length, int) or self.journal_length < 1:
            raise InvalidArgumentError("journal_length must be a whole number from 1 on")
        if not self.redis_prefix or not self.redis_prefix.isprintable():
            raise InvalidArgumentError("redis_prefix must be a text of printable characters")
        if self.redis_client is not None:
            self._pool = pool_of(self.redis_client)
        else:
            self._pool = make_pool(self.redis_url, self.redis_db, self.redis_password)

    @property
    def redis_address(self) -> str:
        """Where Redis is, without the password."""
        return self._pool.display()

    # -- looking after it ------------------------------------------------------------------------------------

    def _coordinator(self) -> RedisCoordinator:
        coordinator = self._opened().coordinator
        assert isinstance(coordinator, RedisCoordinator)
        return coordinator

    def request_resync(self) -> None:
        self._perform_resync()
        super().request_resync()

    def health(self) -> dict[str, Any]:
        """See `EventQueue.health`; besides: since, other_roots, awaited_roots, address.

        As long as roots are awaited, after Redis has lost something, nothing can be published.
        """
        self._up_to_date()  # a process that only publishes would not know otherwise that Redis is gone
        awaited = self._coordinator().operations.awaited()
        return {**super().health(), "awaited_roots": len(awaited), "address": self.redis_address}

    def stats(self) -> dict[str, Any]:
        """See `EventQueue.stats`; besides: events_behind, journal_length, workers (None without Redis) and roots."""
        engine = self._up_to_date()
        return {**super().stats(), **self._coordinator().operations.numbers(engine.log.tail())}

    def roots(self) -> list[KnownRoot]:
        """Return the other roots of this queue that may be alive, as they were last heard of."""
        return self._coordinator().operations.roots(self._up_to_date().log.tail())

    def workers(self) -> list[KnownWorker]:
        """Return the workers of all roots.

        Raises:
            CoordinationError: Redis cannot be asked.
        """
        return self._coordinator().operations.workers()

    def forget_root(self, root_id: UUID | str) -> bool:
        """Take another root for gone for good, here and in Redis: nobody waits for it any more; False if unknown.

        Without Redis this root alone forgets it, at once and in all its processes, and tells Redis when that is back.
        A root that was not gone is refused when it comes back, if it has published meanwhile.

        Raises:
            InvalidArgumentError: it is this root.
        """
        return self._coordinator().operations.forget(str(root_id))

    # -- where the work happens: the names that the asyncio twin has for it --------------------------------------

    def _publish_to_redis(self, end: LogEnd, payload_fields: Sequence[bytes]) -> tuple[int, int] | None:
        """Get ids and a time for a batch, the append lock being held; None if Redis cannot be had."""
        published, _ = self._coordinator().numbering.publish_to_redis(end, payload_fields)
        return published

    def _start_pubsub_monitor(self) -> None:
        """Listen to the channel, unless this process does already."""
        self._coordinator().watch()

    def _handle_redis_message(self, data: bytes) -> None:
        """Do what a message on the channel asks for."""
        self._coordinator().hearing.handle(data)

    def _perform_resync(self) -> None:
        """Catch up now, with what the journal no longer has from another root, in a thread."""
        self._coordinator().request_resync()

    def _make_coordinator(self, identity: QueueIdentity, store: StateStore) -> Coordinator:
        shared_name = SharedName(str(self.name), self.redis_prefix)
        if identity.joined not in (None, shared_name):
            raise QueueIdentityError(_another_name(identity.joined, shared_name))
        pool = self._pool
        keys = Keys(self.redis_prefix, str(self.name), pool.database, is_cluster=pool.is_cluster)
        pool.serve(keys.journal)
        return RedisCoordinator(
            Site(pool, keys, shared_name, Path(self.root_dir), identity, store, self.worker_id),
            journal_length=self.journal_length,
            resync=self.resync,
            resync_timeout_seconds=self.resync_lock_timeout_seconds,
        )


def _another_name(joined: SharedName | None, given: SharedName) -> str:
    assert joined is not None
    return (
        f"this root belongs to the queue {joined.name!r} (redis_prefix {joined.prefix!r}) and cannot be "
        f"{given.name!r} (redis_prefix {given.prefix!r}), too: give it name={joined.name!r} and "
        f"redis_prefix={joined.prefix!r}, or another root_dir"
    )
