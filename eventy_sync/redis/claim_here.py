"""This root's side of taking a claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from eventy_sync.errors import StorageError
from eventy_sync.models import Claim
from eventy_sync.storage.state import ClaimTable

_GIVE_WAY_SECONDS = 0.0005


class Confirmed:
    """Claims that Redis has granted just as this root has, which is written down with the next one.  Thread safe.

    By itself it would cost each of them a second transaction.  Whoever finds one meanwhile that is not certain, another
    process of this root, puts it back to Redis only where nobody has it, see `Held`.
    """

    def __init__(self) -> None:
        # replaced as a whole, or appended to; one that is lost is written down when it is renewed
        self._claims: list[Claim] = []

    def add(self, claim: Claim) -> None:
        """Remember this one."""
        self._claims.append(claim)

    def take(self) -> list[Claim]:
        """Return all, and forget them."""
        claims, self._claims = self._claims, []
        return claims


class ClaimHere:
    """Granted while the request is on its way to Redis, and not for certain until its reply is here.

    Another worker of this root may be faster here and slower there.  It gives way then; so whom Redis has granted
    the claim waits while others come and go here.
    """

    def __init__(
        self,
        table: ClaimTable,
        confirmed: Confirmed,
        pause: Callable[[float], object],
        claim_id: str,
        worker_id: UUID,
        data: str,
        ttl_seconds: float,
    ) -> None:
        self._table, self._confirmed, self._pause = table, confirmed, pause
        self._wanted, self._ttl_seconds = (claim_id, worker_id, data), ttl_seconds
        self._begun = time.monotonic()
        self._was_asked = False
        self._asked_in = ""
        self._error: StorageError | None = None
        self.claim: Claim | None = None

    def grant(self, asked_in: str = "") -> None:
        """Ask the state store, the first time; an error waits until the reply from Redis is here."""
        if not self._was_asked:
            self._was_asked, self._asked_in = True, asked_in
            self._ask(self._ttl_seconds)

    def grant_alone(self) -> None:
        """Let the state store decide without Redis."""
        self.grant()
        if self.claim is not None:
            self._table.confirm([self.claim], is_alone=True)

    def _ask(self, ttl_seconds: float, *, takes_over: bool = False) -> None:
        confirmed = self._confirmed.take()
        try:
            self.claim = self._table.grant(
                *self._wanted, ttl_seconds, asked_in=self._asked_in, takes_over=takes_over, confirmed=confirmed
            )
        except StorageError as exc:
            self._error = exc

    def insist(self, seconds: float) -> None:
        """Wait while others are about to give way, so many seconds at most; whoever has not by then is frozen or dead.

        The claim ends when it does in Redis, where it began before.
        """
        deadline, is_late = time.monotonic() + seconds, False
        while self.claim is None and self._error is None and not is_late:
            self._pause(_GIVE_WAY_SECONDS)
            is_late = time.monotonic() >= deadline
            left_seconds = self._ttl_seconds - (time.monotonic() - self._begun)
            if left_seconds > 0:
                self._ask(left_seconds, takes_over=is_late)

    def take_back(self) -> None:
        """Free the claim here; raise what kept the state store from granting it."""
        if self.claim is not None:
            self._table.release(self.claim.id, self.claim.worker_id, self.claim.token)
        if self._error is not None:
            raise self._error
