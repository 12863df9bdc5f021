"""Groups, as an event queue has them: shared work that survives its workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from eventy_sync.models import DeadLetter, GroupInfo, Page

MAX_ATTEMPTS = 5
LEASE_SECONDS = 60.0


class GroupWork(ABC):
    """What an `EventQueue` does for groups besides ``subscribe(…, group=…)``.  All methods are thread safe."""

    @abstractmethod
    def groups(self) -> list[GroupInfo]:
        """Return how the groups are doing, by name: the lag of each, what is leased, what waits, what is dead."""

    @abstractmethod
    def pause_group(self, group: str) -> None:
        """Hand no more of a group's events out, in any worker, until `resume_group`; what is leased goes on.

        Raises:
            GroupNotFoundError: nobody has subscribed with this group yet.
        """

    @abstractmethod
    def resume_group(self, group: str) -> None:
        """Hand a group's events out again.

        Raises:
            GroupNotFoundError: nobody has subscribed with this group yet.
        """

    @abstractmethod
    def dead_letters(self, group: str, page_id: str | None = None, limit: int = 100) -> Page[DeadLetter]:
        """Return a page of what a group has given up, by event.

        Raises:
            GroupNotFoundError: nobody has subscribed with this group yet.
        """

    @abstractmethod
    def requeue(self, group: str, event_ids: Sequence[int] | None = None) -> int:
        """Hand dead letters out again, all of them unless ids are given; return how many there were.

        Their attempts count from 1 again.  Ids that are no dead letters are passed over.

        Raises:
            GroupNotFoundError: nobody has subscribed with this group yet.
        """

    @abstractmethod
    def remove_group(self, group: str) -> None:
        """Forget a group that nobody runs any more: its place, what waits, and its dead letters.  Results are kept.

        What it has not finished holds retention up no longer.  Stop its workers before: those that are left get no more
        events, in whatever process.  Whoever subscribes with the name later makes a new group, as the first one did.

        Raises:
            GroupNotFoundError: nobody has subscribed with this group yet.
            GroupInUseError: workers have events of it in hand, or this process subscribes with it.
            CoordinationError: Redis cannot be had, and there are other roots.
        """
