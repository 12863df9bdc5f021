"""Leases of a group on several hosts: not given out yet, which the error says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn
from uuid import UUID

from eventy_sync.errors import CoordinationError
from eventy_sync.models import DeadLetter, GroupInfo, Page
from eventy_sync.storage.state import Settlement, StateStore, Taken, Want


class RedisLeases:
    """A `LeaseAuthority`."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def begin(self, group: str, from_index: int) -> None:
        """See `LeaseAuthority.begin`."""
        _refuse()

    def exchange(self, group: str, worker_id: UUID, settlement: Settlement | None, want: Want | None) -> Taken:
        """See `LeaseAuthority.exchange`."""
        _refuse()

    def renew(self, group: str, worker_id: UUID, tokens: Sequence[int], lease_seconds: float) -> set[int]:
        """See `LeaseAuthority.renew`."""
        _refuse()

    def is_finished(self, group: str, tail: int) -> bool:
        """See `LeaseAuthority.is_finished`."""
        return self._store.groups.is_finished(group, tail)

    def info(self, tail: int) -> list[GroupInfo]:
        """See `LeaseAuthority.info`."""
        return self._store.groups.info(tail)

    def pause(self, group: str, paused: bool) -> None:
        """See `LeaseAuthority.pause`."""
        _refuse()

    def dead_letters(self, group: str, page_id: str | None, limit: int) -> Page[DeadLetter]:
        """See `LeaseAuthority.dead_letters`."""
        return self._store.groups.dead_letters(group, page_id, limit)

    def requeue(self, group: str, event_ids: Sequence[int] | None) -> int:
        """See `LeaseAuthority.requeue`."""
        _refuse()

    def oldest_unfinished(self) -> int | None:
        """See `LeaseAuthority.oldest_unfinished`."""
        return self._store.groups.oldest_unfinished()


def _refuse() -> NoReturn:
    raise CoordinationError("groups of a queue on several hosts are not coordinated yet: use a FileEventQueue")
