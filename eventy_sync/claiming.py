"""Claims, as an event queue has them: exclusive holds on names, which expire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from eventy_sync.models import Claim, Page


class ClaimHandle(Protocol):
    """A claim for the length of a ``with`` block: renewed in the background, given back at the end."""

    @property
    def acquired(self) -> bool:
        """Whether this worker got the claim."""

    @property
    def lost(self) -> bool:
        """Whether it can no longer be relied on; true a little before its time is over."""

    @property
    def token(self) -> int | None:
        """The fencing token, None if the claim was not acquired."""

    def keep(self, ttl_seconds: float) -> None:
        """Leave the claim standing for so long after the block, as a mark that something was done."""

    def __enter__(self) -> ClaimHandle: ...
    def __exit__(self, *exc_info: Any) -> None: ...


class Claiming(ABC):
    """What an `EventQueue` does with claims.  All methods are thread safe."""

    @abstractmethod
    def create_claim(self, claim_id: str, data: Any = None, *, ttl_seconds: float | None = None) -> bool:
        """Take a claim; False if somebody holds it, this worker included.

        `data` is plain JSON values, for others to see.  The claim ends after `ttl_seconds`, the queue's
        `claim_expiration_seconds` unless given, when it is not renewed.

        Raises:
            InvalidArgumentError: the id, the data or the time is not valid.
        """

    @abstractmethod
    def claim(self, claim_id: str, data: Any = None, *, ttl_seconds: float | None = None) -> ClaimHandle:
        """Hold a claim for the length of a ``with`` block, renewed in the background.

        ::

            with queue.claim("nightly-report") as claim:
                if claim.acquired:
                    build_report(fence=claim.token)
        """

    @abstractmethod
    def renew_claim(self, claim_id: str, *, ttl_seconds: float | None = None) -> Claim:
        """Let a claim of this worker last its whole time from now.

        Raises:
            ClaimLostError: this worker does not hold it.
        """

    @abstractmethod
    def release_claim(self, claim_id: str) -> bool:
        """Give a claim back; False if this worker does not hold it."""

    @abstractmethod
    def get_claim(self, claim_id: str) -> Claim:
        """Return a claim that somebody holds.

        Raises:
            ClaimNotFoundError: nobody does.
        """

    @abstractmethod
    def batch_get_claims(self, claim_ids: Sequence[str]) -> list[Claim | None]:
        """Return claims in the order of their ids, None for what nobody holds."""

    @abstractmethod
    def search_claims(
        self,
        page_id: str | None = None,
        limit: int = 100,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> Page[Claim]:
        """Return a page of the claims that are held, by id."""

    @abstractmethod
    def count_claims(
        self,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> int:
        """Return how many claims are held."""
