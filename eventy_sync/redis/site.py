"""What all parts of a coordinator share: which root of which queue this is, and how to talk to the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from eventy_sync.file.identity import QueueIdentity, SharedName
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link
from eventy_sync.redis.pool import ServerPool
from eventy_sync.redis.server_info import SameServer
from eventy_sync.redis.sessions import Sessions
from eventy_sync.storage.state import StateStore


@dataclass(frozen=True)
class Site:
    """Fixed after construction.  `identity` is as it was when the root was opened: joining may change its queue_id."""

    pool: ServerPool
    keys: Keys
    shared_name: SharedName
    root: Path
    identity: QueueIdentity
    store: StateStore
    worker_id: UUID
    sessions: Sessions = field(default_factory=Sessions)

    @property
    def root_id(self) -> UUID:
        """This root's own id."""
        return self.identity.root_id

    def links(self, leave_epoch: Callable[[bytes], bool]) -> tuple[Link, Link]:
        """Return a link for publishing and one for all else, which both notice another server; see `SameServer`."""
        same_server = SameServer(self.keys, leave_epoch)
        return Link(self.pool.make, same_server.check), Link(self.pool.make, same_server.check)
