"""Claims on several hosts: granted only where Redis and this root's state store both grant them.

Redis has each claim under a key that expires, and two indexes of what is held: by when it ends, which also
tells a claim that was evicted from one that has ended, and by id, for searching.  The state store has those of
this root, by a clock that a changed wall clock cannot upset, and decides alone when no other root has the queue
and Redis is away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from eventy_sync.errors import ClaimNotFoundError, CoordinationError
from eventy_sync.models import Claim, Page
from eventy_sync.redis.claim_here import ClaimHere, Confirmed
from eventy_sync.redis.claim_scripts import HELD, NOT_NOW, ClaimScripts
from eventy_sync.redis.claim_search import ClaimSearch
from eventy_sync.redis.mode import Mode
from eventy_sync.redis.roots import Roots
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.storage.state import ClaimTable, check_claim_id, check_ttl, encode_data

R = TypeVar("R")

AWAIT_SECONDS = 3.0
"""So long a claim waits for other roots to say what they hold, after the server has lost something."""
_PAUSE_SECONDS = 0.01
_INSIST_SECONDS = 3.0
"""So long others of this root are waited for that have to give way: more than a request takes until it is given up."""
_AT_ONCE = 100


class RedisClaims:
    """A claim authority; see `ClaimAuthority`.  Thread safe.

    `rejoin` joins anew and raises RedisUnavailableError where that fails; `degrade` is told of every failure.
    """

    def __init__(
        self,
        table: ClaimTable,
        scripts: ClaimScripts,
        search: ClaimSearch,
        mode: Mode,
        roots: Roots,
        *,
        rejoin: Callable[[], None],
        forget_gone: Callable[[], object],
        degrade: Callable[[CoordinationError], None],
        pause: Callable[[float], object],
    ) -> None:
        # fixed after construction
        self._table, self._scripts, self._search, self._mode, self._roots = table, scripts, search, mode, roots
        self._rejoin, self._forget_gone, self._degrade, self._pause = rejoin, forget_gone, degrade, pause
        # replaced as a whole
        self._unsettled: frozenset[tuple[str, UUID]] = frozenset()  # taken in Redis, maybe: the reply was lost
        self._was_alone = False  # whether something was granted that Redis may not know of
        self._confirmed = Confirmed()

    # -- taking ----------------------------------------------------------------------------------------------

    def create(self, claim_id: str, worker_id: UUID, data: Any, ttl_seconds: float) -> Claim | None:
        """Grant the claim, or return None because somebody holds it."""
        check_ttl(ttl_seconds)
        text = encode_data(data)
        deadline = time.monotonic() + AWAIT_SECONDS
        while True:
            is_held, last_token = self._table.look(claim_id)
            if is_held:
                return None
            here = ClaimHere(self._table, self._confirmed, self._pause, claim_id, worker_id, text, ttl_seconds)
            try:
                self._check_connected()
                token = self._scripts.take(claim_id, worker_id, text, ttl_seconds, last_token, here.grant)
            except RedisUnavailableError as exc:
                return self._take_without_redis(exc, here, claim_id, worker_id)
            except CoordinationError:
                here.take_back()
                raise
            if token == NOT_NOW:
                self._give_up(here)
                self._await_roots(deadline)
                continue
            claim = self._agree(here, token, claim_id, worker_id, ttl_seconds)
            if claim is not None or token == HELD or token > self._table.last_token_alone():
                return claim

    def _agree(self, here: ClaimHere, token: int, claim_id: str, worker_id: UUID, ttl_seconds: float) -> Claim | None:
        """Have here what Redis has granted, or free it on both sides."""
        if token == HELD:
            here.take_back()
            return None
        here.insist(min(_INSIST_SECONDS, ttl_seconds / 2))
        claim = here.claim
        if claim is not None and claim.token == token:
            self._confirmed.add(claim)
            return claim
        if claim is not None and (claim := self._table.renumber(claim, token)) is not None:
            return claim
        self._free(claim_id, worker_id, token)  # first: who is granted it here must not be refused there
        here.take_back()
        return None

    def _give_up(self, here: ClaimHere) -> None:
        """Free the claim that Redis has not granted, and there as well if a join has put it back in between."""
        if here.claim is not None:
            self._unsettled |= {(here.claim.id, here.claim.worker_id)}
        here.take_back()

    def _take_without_redis(
        self, exc: RedisUnavailableError, here: ClaimHere, claim_id: str, worker_id: UUID
    ) -> Claim | None:
        if exc.may_have_run:
            self._scripts.give_up_session()
            self._unsettled |= {(claim_id, worker_id)}
        if self._roots.is_alone:
            here.grant_alone()
            self._was_alone = True
            self._degrade_by(exc)
            if here.claim is None:
                here.take_back()
            return here.claim
        here.take_back()  # before degrading: coming back tells Redis what is held here
        self._degrade_by(exc)
        unknown = "whether the claim was taken is unknown"
        raise self._mode.refusal(unknown if exc.may_have_run else "the claim was not taken")

    def _await_roots(self, deadline: float) -> None:
        """Join anew, and wait for the others to do so."""
        if time.monotonic() > deadline:
            raise CoordinationError(
                "the claim was not taken: Redis has lost something, and another root has not said yet which claims it "
                "holds; start a worker there, or, if it is gone for good, forget it: eventy-sync forget-root"
            )
        try:
            self._rejoin()
            self._forget_gone()
        except RedisUnavailableError as exc:
            self._degrade_by(exc)
        self._pause(_PAUSE_SECONDS)

    # -- keeping and freeing -----------------------------------------------------------------------------------

    def renew(self, claim_id: str, worker_id: UUID, token: int, ttl_seconds: float) -> Claim | None:
        """Let the claim last so long from now, or return None because it is not held under this token."""
        check_ttl(ttl_seconds)
        (held,) = self._table.batch_get([claim_id])
        if held is None or held.token != token or held.worker_id != worker_id:
            return None
        try:
            renewed = self._ask(lambda: self._scripts.prolong(held, ttl_seconds))
        except RedisUnavailableError:
            if not self._roots.is_alone:
                raise self._mode.refusal("the claim was not renewed") from None
            renewed = True
        if renewed:
            return self._table.renew(claim_id, worker_id, token, ttl_seconds)
        self._table.release(claim_id, worker_id, token)
        return None

    def release(self, claim_id: str, worker_id: UUID, token: int) -> bool:
        """Free the claim if it is held under this token; without Redis it stays taken there until it expires."""
        check_claim_id(claim_id)
        released = self._table.release(claim_id, worker_id, token)
        return self._free(claim_id, worker_id, token) or released

    def _free(self, claim_id: str, worker_id: UUID, token: int) -> bool:
        """Free it in Redis, now or once this root has joined anew."""
        try:
            return self._ask(lambda: self._scripts.free(claim_id, worker_id, token))
        except RedisUnavailableError:
            self._unsettled |= {(claim_id, worker_id)}
            return False

    def _ask(self, question: Callable[[], int]) -> bool:
        """Ask Redis, joining anew where it says so.

        Raises:
            RedisUnavailableError: it cannot be asked; the queue is degraded then.
        """
        self._check_connected()
        try:
            deadline = time.monotonic() + AWAIT_SECONDS
            while (answer := question()) == NOT_NOW and time.monotonic() < deadline:
                self._rejoin()
                self._pause(_PAUSE_SECONDS)
            if answer == NOT_NOW:
                raise RedisUnavailableError("other roots have not said yet which claims they hold")
        except RedisUnavailableError as exc:
            self._degrade_by(exc)
            raise
        return answer > HELD

    def _check_connected(self) -> None:
        if not self._mode.is_connected:
            raise RedisUnavailableError(str(self._mode.error))

    def _degrade_by(self, exc: RedisUnavailableError) -> None:
        if self._mode.is_connected:
            self._degrade(exc)

    # -- looking -----------------------------------------------------------------------------------------------

    def get(self, claim_id: str) -> Claim:
        """Return a claim that is held, or raise ClaimNotFoundError."""
        (claim,) = self.batch_get([claim_id])
        if claim is None:
            raise ClaimNotFoundError(f"nobody holds the claim {claim_id!r:.200}")
        return claim

    def batch_get(self, claim_ids: Sequence[str]) -> list[Claim | None]:
        """Return claims in the order of their ids, None for what nobody holds; without Redis, those of this root."""
        checked = [check_claim_id(each) for each in claim_ids]
        if not checked:
            return []
        return self._look(lambda: self._search.batch_get(checked), lambda: self._table.batch_get(checked))

    def search(
        self,
        page_id: str | None = None,
        limit: int = 100,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> Page[Claim]:
        """Return a page of the claims that are held, by id; without Redis, of those of this root."""
        given = (worker_id__eq, created_at__gte, created_at__lte)
        return self._look(
            lambda: self._search.search(page_id, limit, *given), lambda: self._table.search(page_id, limit, *given)
        )

    def count(
        self,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> int:
        """Return how many claims are held; without Redis, how many by this root."""
        given = (worker_id__eq, created_at__gte, created_at__lte)
        return self._look(lambda: self._search.count(*given), lambda: self._table.count(*given))

    def _look(self, in_redis: Callable[[], R], here: Callable[[], R]) -> R:
        if self._mode.is_connected:
            try:
                return in_redis()
            except RedisUnavailableError as exc:
                self._degrade_by(exc)
        return here()

    # -- joining -----------------------------------------------------------------------------------------------

    def write_back(self, *, are_from_elsewhere: bool = False) -> None:
        """Tell Redis of the claims this root holds; one that another worker holds there is lost here.

        See `ClaimScripts.restore` for which that is.

        Raises:
            RedisUnavailableError: Redis cannot be asked.
        """
        self._table.confirm(self._confirmed.take())
        held = self._table.held()
        for start in range(0, len(held), _AT_ONCE):
            some = [each.claim for each in held[start : start + _AT_ONCE]]
            try:
                lost = self._scripts.restore(held[start : start + _AT_ONCE], are_from_elsewhere=are_from_elsewhere)
            except RedisUnavailableError as exc:
                if exc.may_have_run:
                    self._scripts.give_up_session()
                    self._unsettled |= {(claim.id, claim.worker_id) for claim in some}
                raise
            for claim in lost:
                self._table.release(claim.id, claim.worker_id, claim.token)
            there_yet = self._table.batch_get([claim.id for claim in some])
            for claim, now in zip(some, there_yet, strict=True):
                if now is None:  # freed in the meantime, perhaps
                    self._unsettled |= {(claim.id, claim.worker_id)}

    def write_back_if_granted_alone(self) -> None:
        """Do so for what was granted while this root was coming back.

        Raises:
            RedisUnavailableError: Redis cannot be asked.
        """
        was_alone, self._was_alone = self._was_alone, False
        if was_alone:
            self.write_back()

    def settle(self) -> None:
        """Free what Redis may have granted to requests whose reply was lost; to be called once joined.

        Raises:
            RedisUnavailableError: Redis cannot be asked.
        """
        unsettled = self._unsettled
        for claim_id, worker_id in unsettled:
            self._settle(claim_id, worker_id)
        self._unsettled -= unsettled

    def _settle(self, claim_id: str, worker_id: UUID) -> None:
        (there,) = self._search.batch_get([claim_id])
        if there is not None and there.worker_id == worker_id and self._table.batch_get([claim_id]) == [None]:
            self._scripts.free(claim_id, worker_id, there.token)

    def clear(self) -> None:
        """Forget every claim of this root, whoever holds it; tokens go on growing."""
        for claim, *_ in self._table.held():
            self.release(claim.id, claim.worker_id, claim.token)

    def lost(self, claim_id: str, worker_id: UUID) -> int | None:
        """Free a claim here that this worker believes to hold and Redis knows better, and return its token.

        Raises:
            RedisUnavailableError: Redis cannot be asked.
        """
        (held,) = self._table.batch_get([claim_id])
        if held is None or held.worker_id != worker_id:
            return None
        (there,) = self._search.batch_get([claim_id])
        if there is None or there.token <= held.token:
            return None  # also where it was evicted: the next renewal puts it back
        self._table.release(claim_id, worker_id, held.token)
        return held.token
