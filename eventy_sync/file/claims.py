"""Claims as a worker holds them: taken and given back by hand, or by ``with queue.claim(...)``.

An authority decides who holds a claim; this module remembers under which token *this* process
does, and renews the claims of open handles from one thread, which lives as long as there are any.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any
from uuid import UUID

from eventy_sync.errors import ClaimLostError, CoordinationError, InvalidArgumentError, StorageError
from eventy_sync.file.coordinator import ClaimAuthority
from eventy_sync.models import Claim, Page
from eventy_sync.waking import start_thread

logger = logging.getLogger(__name__)

RENEWALS_PER_TERM = 3
SAFETY_SHARE = 0.1
"""A handle says it is lost this share of the term before the time really runs out."""


class Claims:
    """The claims of one worker.  Thread safe."""

    def __init__(
        self, authority: ClaimAuthority, worker_id: UUID, default_ttl_seconds: float, thread_name: str
    ) -> None:
        self._authority, self._worker_id = authority, worker_id
        self._default_ttl_seconds = default_ttl_seconds
        self._tokens: dict[str, int] = {}  # of the claims we were granted; an expired one does no harm
        self.renewals = Renewals(self, thread_name)

    def create(self, claim_id: str, data: Any = None, ttl_seconds: float | None = None) -> Claim | None:
        """Take the claim, or return None because somebody holds it."""
        claim = self._authority.create(claim_id, self._worker_id, data, self.ttl(ttl_seconds))
        if claim is not None:
            self._tokens[claim_id] = claim.token
        return claim

    def ttl(self, ttl_seconds: float | None) -> float:
        """Return how long a claim lasts when so many seconds were asked for."""
        return self._default_ttl_seconds if ttl_seconds is None else ttl_seconds

    def renew(self, claim_id: str, ttl_seconds: float | None = None, token: int | None = None) -> Claim:
        """Let the claim last so long from now.

        Raises:
            ClaimLostError: this worker does not hold it.
        """
        token = self._tokens.get(claim_id) if token is None else token
        renewed = None
        if token is not None:
            renewed = self._authority.renew(claim_id, self._worker_id, token, self.ttl(ttl_seconds))
        if renewed is None:
            raise ClaimLostError(
                f"this worker does not hold the claim {claim_id!r:.200}: it expired or was never taken"
            )
        return renewed

    def release(self, claim_id: str, token: int | None = None) -> bool:
        """Give the claim back; False if this worker does not hold it."""
        held = self._tokens.get(claim_id)
        token = held if token is None else token
        if token is None:
            return False
        if held == token:
            self._tokens.pop(claim_id, None)
        return self._authority.release(claim_id, self._worker_id, token)

    def release_all(self) -> None:
        """Give back whatever this worker still holds, as at its end."""
        for claim_id in list(self._tokens):
            self.release(claim_id)

    def lose(self, claim_id: str, token: int) -> None:
        """Another worker holds this claim now: let whoever holds it here know."""
        if self._tokens.get(claim_id) == token:
            self._tokens.pop(claim_id, None)
        self.renewals.lose(claim_id, token)
        logger.warning("claim lost to another worker: claim_id=%r token=%d", claim_id, token)

    def clear(self) -> None:
        """Forget every claim of this root, whoever holds it."""
        self._authority.clear()
        self._tokens.clear()

    def get(self, claim_id: str) -> Claim:
        """See `EventQueue.get_claim`."""
        return self._authority.get(claim_id)

    def batch_get(self, claim_ids: Sequence[str]) -> list[Claim | None]:
        """See `EventQueue.batch_get_claims`."""
        return self._authority.batch_get(claim_ids)

    def search(
        self,
        page_id: str | None,
        limit: int,
        worker_id: UUID | None,
        earliest: datetime | None,
        latest: datetime | None,
    ) -> Page[Claim]:
        """See `EventQueue.search_claims`."""
        return self._authority.search(page_id, limit, worker_id, earliest, latest)

    def count(self, worker_id: UUID | None, earliest: datetime | None, latest: datetime | None) -> int:
        """See `EventQueue.count_claims`."""
        return self._authority.count(worker_id, earliest, latest)


class ClaimHandle:
    """A claim held for the length of a ``with`` block.  See `EventQueue.claim`.

    `acquired` says whether this worker got it, `token` is its fencing token, `lost` becomes true
    while there is still a little time left, so that work can be stopped before another holder starts.
    """

    def __init__(self, claims: Claims, claim_id: str, data: Any, ttl_seconds: float | None) -> None:
        self._claims, self._claim_id, self._data = claims, claim_id, data
        self.ttl_seconds = claims.ttl(ttl_seconds)
        self.claim: Claim | None = None
        self._is_kept = False
        self._safe_deadline = 0.0

    @property
    def acquired(self) -> bool:
        """Whether this worker was granted the claim."""
        return self.claim is not None

    @property
    def token(self) -> int | None:
        """The fencing token, or None without a claim."""
        return None if self.claim is None else self.claim.token

    @property
    def lost(self) -> bool:
        """Whether the claim can no longer be relied on."""
        return self.claim is None or time.monotonic() >= self._safe_deadline

    def keep(self, ttl_seconds: float) -> None:
        """Leave the claim standing for so long after the block, for it marks that something was done.

        Raises:
            ClaimLostError: it was lost before.
        """
        self._claims.renewals.remove(self)
        self._claims.renew(self._claim_id, ttl_seconds, self._held_token())
        self._is_kept = True

    def renew(self) -> None:
        """Let the claim last its whole term from now; the renewal thread does this by itself.

        Raises:
            ClaimLostError: it was lost.
        """
        asked_at = time.monotonic()
        try:
            self._claims.renew(self._claim_id, self.ttl_seconds, self._held_token())
        except ClaimLostError:
            self.lose()
            raise
        self._safe_deadline = asked_at + self.ttl_seconds * (1 - SAFETY_SHARE)

    def holds(self, claim_id: str, token: int) -> bool:
        """Return whether this is the handle of that claim."""
        return self._claim_id == claim_id and self.token == token

    def lose(self) -> None:
        """The claim is another worker's now: `lost` is true from here on."""
        self._safe_deadline = 0.0

    def _held_token(self) -> int:
        if self.claim is None:
            raise ClaimLostError(f"the claim {self._claim_id!r:.200} was not acquired")
        return self.claim.token

    def __enter__(self) -> ClaimHandle:
        if self.claim is not None:
            raise InvalidArgumentError("this claim handle is in use already; ask queue.claim() for another")
        asked_at = time.monotonic()
        self.claim = self._claims.create(self._claim_id, self._data, self.ttl_seconds)
        if self.claim is not None:
            self._safe_deadline = asked_at + self.ttl_seconds * (1 - SAFETY_SHARE)
            self._claims.renewals.add(self)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._claims.renewals.remove(self)
        if self.claim is not None and not self._is_kept:
            self._claims.release(self._claim_id, self.claim.token)
        self._safe_deadline = 0.0


class Renewals:
    """Renews the claims of open handles at a third of their time.  Thread safe."""

    def __init__(self, claims: Claims, thread_name: str) -> None:
        self._claims, self._thread_name = claims, thread_name
        self._lock = threading.RLock()  # taken as itself: a condition's `with` is not safe from signals' exceptions
        self._changed = threading.Condition(self._lock)
        # guarded by _lock
        self._open: set[ClaimHandle] = set()
        self._due: list[tuple[float, int, ClaimHandle]] = []
        self._thread: threading.Thread | None = None
        self._stopping = False

    def add(self, handle: ClaimHandle) -> None:
        """Renew this handle's claim until it is removed."""
        with self._lock:
            self._open.add(handle)
            self._schedule_locked(handle)
            if self._thread is None and not self._stopping:
                self._thread = start_thread(self._thread_name, self._run)
            self._changed.notify()

    def remove(self, handle: ClaimHandle) -> None:
        """Stop renewing this handle's claim."""
        with self._lock:
            self._open.discard(handle)
            self._changed.notify()

    def lose(self, claim_id: str, token: int) -> None:
        """Tell the handle of this claim that it is lost."""
        with self._lock:
            for handle in [each for each in self._open if each.holds(claim_id, token)]:
                handle.lose()
                self._open.discard(handle)
            self._changed.notify()

    def stop(self) -> None:
        """End the thread and wait for it."""
        with self._lock:
            self._stopping = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _schedule_locked(self, handle: ClaimHandle) -> None:
        heapq.heappush(self._due, (time.monotonic() + handle.ttl_seconds / RENEWALS_PER_TERM, id(handle), handle))

    def _run(self) -> None:
        while (handle := self._wait_for_due()) is not None:
            try:
                handle.renew()
            except ClaimLostError as exc:
                self.remove(handle)
                logger.warning("claim lost: %s", exc)
            except (StorageError, CoordinationError) as exc:
                logger.warning("claim not renewed, will try again: %s", exc)

    def _wait_for_due(self) -> ClaimHandle | None:
        """Return the next handle to renew when its time has come; None when the thread shall end."""
        with self._lock:
            while self._open and not self._stopping:
                due_deadline, _, handle = self._due[0]
                if handle in self._open and (wait_seconds := due_deadline - time.monotonic()) > 0:
                    self._changed.wait(wait_seconds)
                    continue
                heapq.heappop(self._due)
                if handle in self._open:
                    self._schedule_locked(handle)
                    return handle
            self._due.clear()
            self._thread = None
            return None
