"""Who decides which worker of a group handles which event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from eventy_sync.models import DeadLetter, GroupInfo, Page
from eventy_sync.storage.state import Settlement, Taken, Want


class LeaseAuthority(Protocol):
    """Gives out leases and takes back what came of them.  Thread safe; `LeaseTable` is one.

    Group names were checked before.  All methods raise StorageError when the state store refuses, and those of a queue
    on several hosts CoordinationError when nothing can be agreed on; the worker then keeps its settlement and comes
    again.
    """

    def begin(self, group: str, from_index: int) -> None:
        """Make the group, with its place before this event; a known group keeps its own."""

    def exchange(self, group: str, worker_id: UUID, settlement: Settlement | None, want: Want | None) -> Taken:
        """Take what came of leases, and give others, all in one step; either may be left out.

        What comes under a token that was overtaken changes nothing; its results are kept, marked stale.
        An event whose lease ran out for the `max_attempts`th time becomes a dead letter.
        """

    def renew(self, group: str, worker_id: UUID, tokens: Sequence[int], lease_seconds: float) -> set[int]:
        """Let these leases last so long from now; return the tokens of those that are held still."""

    def is_finished(self, group: str, tail: int) -> bool:
        """Return whether no event up to `tail` is fresh, leased or waits for another attempt.

        Events that wait for their time without having been tried do not count.
        """

    def info(self, tail: int) -> list[GroupInfo]:
        """Return how all groups are doing, by name."""

    def pause(self, group: str, paused: bool) -> None:
        """Give no more leases, or give them again.

        Raises:
            GroupNotFoundError: there is no such group.
        """

    def dead_letters(self, group: str, page_id: str | None, limit: int) -> Page[DeadLetter]:
        """Return a page of dead letters, by event."""

    def requeue(self, group: str, event_ids: Sequence[int] | None) -> int:
        """Make dead letters wait for a first attempt again, all of them for None; return how many."""

    def remove(self, group: str) -> None:
        """Forget the group: its place, what waits, and its dead letters; results stay.

        Workers that are left get nothing more, until somebody makes a group of this name again.

        Raises:
            GroupNotFoundError: there is no such group.
            GroupInUseError: a worker has events of it.
        """

    def oldest_unfinished(self) -> int | None:
        """Return the first event that any group has not finished, None if there are no groups."""

    def forget_unfinished(self) -> None:
        """Hand out none of the events that the state store has just forgotten, on whatever root."""
