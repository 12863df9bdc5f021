"""The names of a queue's keys in Redis: the one place that builds them.

All begin with ``{prefix}:{queue}:``, the queue's name percent-encoded; with Redis Cluster the queue part is
wrapped in braces, so that all keys of a queue share a slot.  Pub/sub ignores database numbers, so the
channel carries the number when it is not 0.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from eventy_sync.errors import InvalidArgumentError


class GroupKeys(NamedTuple):
    """The keys of one group: itself, what is leased, what waits and what is dead, and what each root knows of it."""

    state: str
    pending: str
    leases: str
    waiting: str
    attempts: str
    dead: str
    checkpoints: str


class Keys:
    """The keys of one queue."""

    def __init__(self, prefix: str, queue_name: str, database: int = 0, *, is_cluster: bool = False) -> None:
        if is_cluster and ("{" in prefix or "}" in prefix):
            raise InvalidArgumentError(
                "redis_prefix must not hold braces with Redis Cluster: they would choose the slot"
            )
        name = quote(queue_name, safe="")
        self._base = f"{prefix}:{{{name}}}:" if is_cluster else f"{prefix}:{name}:"
        self.next_event_id = f"{self._base}next_event_id"
        self.journal = f"{self._base}journal"
        self.changes = f"{self._base}changes"
        self.meta = f"{self._base}meta"
        self.awaiting = f"{self._base}awaiting"
        self.roots = f"{self._base}roots"
        self.workers = f"{self._base}workers"
        self.claims = f"{self._base}claims"
        self.claim_ids = f"{self._base}claim_ids"
        self.claim_holders = f"{self._base}claim_holders"
        self.groups = f"{self._base}groups"
        self.resync_lock = f"{self._base}resync_lock"
        self.channel = f"{self._base}events" + (f":{database}" if database else "")

    def claim(self, claim_id: str) -> str:
        """Return the key of a claim."""
        return f"{self._base}claim:{claim_id}"

    def event_key(self, key: str) -> str:
        """Return the key that says which event has this one."""
        return f"{self._base}key:{key}"

    def group(self, name: str) -> GroupKeys:
        """Return the keys of a group, whose name has no colon."""
        state = f"{self._base}group:{name}"
        return GroupKeys(state, *(f"{state}:{part}" for part in GroupKeys._fields[1:]))

    def group_reply(self, name: str, asker: str) -> str:
        """Return the key of the last reply to one who asks for leases."""
        return f"{self._base}group:{name}:reply:{asker}"

    def resync(self, request_id: str) -> str:
        """Return the key of the stream that answers one request for a resync."""
        return f"{self._base}resync:{request_id}"
