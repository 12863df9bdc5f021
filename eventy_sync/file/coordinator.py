"""The coordinator: who gives out ids and claims, and who tells of other roots.

A file queue has one.  `LocalCoordinator` serves a root that is alone; a queue on several hosts has one
that asks a server.  The engine calls `start` once the log is open, `stop` before it is closed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from eventy_sync.delivery.leases import LeaseAuthority
from eventy_sync.file.alone import Alone, ClaimsAlone, LeasesAlone, NumberingAlone
from eventy_sync.file.identity import QueueIdentity
from eventy_sync.file.metering import Meter
from eventy_sync.models import Claim, Page
from eventy_sync.storage.log import EventLog, Numbering
from eventy_sync.storage.state import StateStore


class ClaimAuthority(Protocol):
    """Decides who holds a claim.  Thread safe; `ClaimTable` is one."""

    def create(self, claim_id: str, worker_id: UUID, data: Any, ttl_seconds: float) -> Claim | None:
        """Grant the claim, or return None because somebody holds it."""

    def renew(self, claim_id: str, worker_id: UUID, token: int, ttl_seconds: float) -> Claim | None:
        """Let the claim last so long from now, or return None because it is not held under this token."""

    def release(self, claim_id: str, worker_id: UUID, token: int) -> bool:
        """Free the claim if it is held under this token."""

    def clear(self) -> None:
        """Forget every claim of this root, whoever holds it; tokens go on growing."""

    def get(self, claim_id: str) -> Claim:
        """Return a claim that is held, or raise ClaimNotFoundError."""

    def batch_get(self, claim_ids: Sequence[str]) -> list[Claim | None]:
        """Return claims in the order of their ids, None for what nobody holds."""

    def search(
        self,
        page_id: str | None = None,
        limit: int = 100,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> Page[Claim]:
        """Return a page of the claims that are held, by id."""

    def count(
        self,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> int:
        """Return how many claims are held."""


class Watcher(Protocol):
    """Wakes whoever waits for the log to grow.  Thread safe; never raises."""

    @property
    def is_told(self) -> bool:
        """Whether they hear of it by themselves."""

    def look(self) -> None:
        """Look at the log, and wake them if it has grown."""

    def expect(self, event_id: int) -> None:
        """Let them look themselves: this event may be in the log by now."""

    def look_at_groups(self) -> None:
        """Wake them where a group may have work without new events."""


class Coordinator(ABC):
    """All methods are thread safe."""

    numbering: Numbering
    claims: ClaimAuthority
    leases: LeaseAuthority
    hears_others = False
    """Whether a process that watches hears what other roots tell."""

    @abstractmethod
    def start(self, log: EventLog, watcher: Watcher, on_claim_lost: Callable[[str, int], None]) -> None:
        """Begin to serve this log; `on_claim_lost` gets id and token of a claim that another worker holds now."""

    @abstractmethod
    def connect(self) -> None:
        """Agree with other roots, if there are any; not called in the child of a fork.

        Raises:
            CoordinationError: a person has to see to it.
        """

    def segment_opened(self) -> None:  # noqa: B027 - most have nothing to do
        """Called under the append lock before this process appends to a segment for the first time.  Never raises."""

    @abstractmethod
    def refresh(self) -> None:
        """Make what others have published readable here, if that may be overdue.  Cheap; never raises."""

    @abstractmethod
    def watch(self) -> None:
        """This process delivers or waits from now on: learn of what others do as soon as may be."""

    @abstractmethod
    def tick(self) -> None:
        """Called twice a second in a process that watches, and sooner if `is_tick_due`.  Never raises."""

    def is_tick_due(self) -> bool:
        """Return whether there is something to tell that others may wait for.  Costs next to nothing."""
        return False

    def measure(self, meter: Meter | None) -> None:  # noqa: B027 - most ask no server
        """Tell this meter how long the server takes; nobody for None.  Called before `start`, and at any time after."""

    @abstractmethod
    def stop(self) -> None:
        """End all threads and connections."""

    @abstractmethod
    def health(self) -> dict[str, Any]:
        """Return `mode` and `reason`, and what else there is to tell."""


class LocalCoordinator(Coordinator):
    """For a root that is alone: ids from the log's tail, claims from the state store, until it joins others."""

    def __init__(self, root: Path, identity: QueueIdentity, store: StateStore) -> None:
        self._alone = alone = Alone(root, identity)
        self.numbering = self._numbering = NumberingAlone(alone)
        self.claims: ClaimAuthority = ClaimsAlone(alone, store.claims)
        self.leases: LeaseAuthority = LeasesAlone(alone, store.leases, store.groups)

    def segment_opened(self) -> None:
        """Look whether the root has joined others: who makes it join starts a new segment."""
        self._numbering.look_again()

    def start(self, log: EventLog, watcher: Watcher, on_claim_lost: Callable[[str, int], None]) -> None:
        """Nothing to begin."""

    def connect(self) -> None:
        """Nobody to agree with."""

    def refresh(self) -> None:
        """Nothing to refresh: all processes of the root share its log."""

    def watch(self) -> None:
        """Nothing to watch but the log."""

    def tick(self) -> None:
        """Nothing to tend."""

    def stop(self) -> None:
        """Nothing to end."""

    def health(self) -> dict[str, Any]:
        """Return the mode "file", and why nothing can be published in it if the root has joined others."""
        return {"mode": "file", "reason": self._alone.why_not("nothing can be published or claimed")}
