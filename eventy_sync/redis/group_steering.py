"""What is asked of the server about a group besides leases: renewing, steering and removing it, and how it is doing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from eventy_sync.errors import GroupInUseError
from eventy_sync.redis.changes import LENGTH
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Argument, Link, Script
from eventy_sync.redis.messages import SteerGroup, encode
from eventy_sync.redis.settlement_parts import Place
from eventy_sync.storage.state import GroupChange, encode_change

_RENEW, _STEER, _LOOK = Script("renew_leases"), Script("steer_group"), Script("look_at_group")
_REMOVE = Script("remove_group")


class Look(NamedTuple):
    """How a group is doing; `oldest` is the first event that is leased or waits, 0 if there is none."""

    next_id: int
    leased: int
    waiting: int
    dead: int
    paused: int
    oldest: int
    is_finished: int


class GroupSteering:
    """Thread safe.  Methods return None where the group has to be built first in this epoch.

    They raise RedisUnavailableError where Redis cannot be had.
    """

    def __init__(self, keys: Keys, link: Link, root_id: UUID, worker_id: UUID, epoch: Callable[[], bytes]) -> None:
        self._keys, self._link, self._epoch = keys, link, epoch
        self._message = encode(SteerGroup(str(worker_id), str(root_id)))

    def names(self) -> list[str]:
        """Return the groups that the server knows."""
        return [each.decode() for each in self._link.command("SMEMBERS", self._keys.groups)]

    def look(self, group: str, tail: int) -> Look | None:
        """Return how it is doing, and whether it has finished all events up to `tail`."""
        keys = self._keys.group(group)
        names = [self._keys.meta, keys.state, keys.leases, keys.waiting, keys.attempts, keys.dead]
        reply = self._link.run(_LOOK, names, [self._epoch(), tail])
        return None if reply is None else Look(*reply)

    def renew(self, group: str, worker_id: UUID, tokens: Sequence[int], lease_seconds: float) -> set[int] | None:
        """Let these leases last so long from now; return the tokens of those that are held still."""
        keys = self._keys.group(group)
        names = [self._keys.meta, keys.state, keys.pending, keys.leases]
        reply = self._link.run(_RENEW, names, [self._epoch(), str(worker_id), int(lease_seconds * 1000), *tokens])
        return None if reply is None else set(reply)

    def pause(self, place: Place, paused: bool) -> bytes | None:
        """Give no more leases, or give them again; return the body of the change."""
        steered = self._steer(place, "pause" if paused else "resume", place.change(paused=paused), [])
        return None if steered is None else steered[1]

    def requeue(self, place: Place, now: int, event_ids: Sequence[int] | None) -> tuple[int, bytes] | None:
        """Make dead letters wait for a first attempt; return how many there were, and the body of the change."""
        what = "requeue all" if event_ids is None else "requeue"
        return self._steer(place, what, place.change(requeued_at=now), event_ids or [])

    def remove(self, place: Place) -> bytes | None:
        """Forget the group; return the body of the change.

        Raises:
            GroupInUseError: workers have events of it.
        """
        names = [self._keys.meta, self._keys.changes, self._keys.groups, *self._keys.group(place.group)]
        begun = encode_change(GroupChange(name=place.group, from_index=place.from_index, removed=True))[:-1]
        arguments: list[Argument] = [self._epoch(), place.birth, LENGTH, self._keys.channel, self._message]
        reply: bytes = self._link.run(_REMOVE, names, [*arguments, place.group, begun])
        word, _, rest = reply.partition(b" ")
        if word == b"leased":
            raise GroupInUseError(place.group, int(rest))
        return rest if word == b"removed" else None

    def _steer(
        self, place: Place, what: str, change: GroupChange, event_ids: Sequence[int]
    ) -> tuple[int, bytes] | None:
        keys = self._keys.group(place.group)
        names = [self._keys.meta, self._keys.changes, keys.state, keys.waiting, keys.attempts, keys.dead]
        begun = encode_change(change)[:-1]  # the server puts behind it what it alone knows
        arguments: list[Argument] = [self._epoch(), LENGTH, self._keys.channel, self._message, what, begun, place.birth]
        reply: bytes = self._link.run(_STEER, names, [*arguments, *event_ids])
        if reply == b"build":
            return None
        count, _, body = reply.partition(b" ")
        return int(count), body
