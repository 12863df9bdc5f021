"""Claims on several hosts: granted only where Redis and this root's state store both grant them.

Redis has each claim as JSON under a key that expires.  The state store has those of this root, by a clock that
a changed wall clock cannot upset, and decides alone when no other root has the queue and Redis is away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import msgspec

from eventy_sync.errors import ClaimNotFoundError, CoordinationError
from eventy_sync.models import Claim
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Argument, Link, Script
from eventy_sync.redis.mode import Mode
from eventy_sync.redis.roots import Roots
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.storage.state import ClaimTable, check_claim_id, check_ttl, encode_data

_CLAIM, _RENEW = Script("claim"), Script("renew")
_HELD = 0
_EPOCH_OVER = -1
_PAGE_CLAIMS = 1000


class _Stored(msgspec.Struct, frozen=True):
    """A claim as Redis has it.  Times are in seconds since 1970."""

    worker_id: UUID
    created_at: float
    expires_at: float
    data: msgspec.Raw
    token: int


_decode = msgspec.json.Decoder(_Stored).decode


class RedisClaims:
    """A claim authority; see `ClaimAuthority`.  Thread safe."""

    def __init__(
        self,
        table: ClaimTable,
        keys: Keys,
        link: Link,
        mode: Mode,
        roots: Roots,
        epoch: Callable[[], bytes],
        degrade: Callable[[CoordinationError], None],
    ) -> None:
        self._table, self._keys, self._link = table, keys, link
        self._mode, self._roots, self._epoch, self._degrade = mode, roots, epoch, degrade
        self.search, self.count = table.search, table.count

    def create(self, claim_id: str, worker_id: UUID, data: Any, ttl_seconds: float) -> Claim | None:
        """Grant the claim, or return None because somebody holds it."""
        check_claim_id(claim_id)
        check_ttl(ttl_seconds)
        text = encode_data(data)
        try:
            token = self._ask(lambda: self._take(claim_id, worker_id, text, ttl_seconds))
        except RedisUnavailableError:
            self._refuse_unless_alone("the claim was not taken")
            return self._table.create(claim_id, worker_id, data, ttl_seconds)
        if token == _HELD:
            return None
        claim = self._table.create(claim_id, worker_id, data, ttl_seconds, least_token=token)
        if claim is None or claim.token != token:  # held here, unknown to Redis, or our counter is ahead
            self._give_back(claim_id, worker_id, token)
            return None if claim is None else self._again(claim, worker_id, ttl_seconds)
        return claim

    def _again(self, claim: Claim, worker_id: UUID, ttl_seconds: float) -> Claim | None:
        """Take the claim once more: the server's tokens were behind this root's, and are level now."""
        self._table.release(claim.id, worker_id, claim.token)
        return self.create(claim.id, worker_id, claim.data, ttl_seconds)

    def _take(self, claim_id: str, worker_id: UUID, data: str, ttl_seconds: float) -> int:
        now = datetime.now(timezone.utc).timestamp()
        stored = (
            f'{{"worker_id":"{worker_id}","created_at":{now},"expires_at":{now + ttl_seconds},"data":{data},"token":'
        )
        arguments: list[Argument] = [self._epoch(), _milliseconds(ttl_seconds), stored, self._table.last_token()]
        return int(self._link.run(_CLAIM, (self._keys.claim(claim_id), self._keys.meta), arguments))

    def renew(self, claim_id: str, worker_id: UUID, token: int, ttl_seconds: float) -> Claim | None:
        """Let the claim last so long from now, or return None because it is not held under this token."""
        check_claim_id(claim_id)
        check_ttl(ttl_seconds)
        (held,) = self._table.batch_get([claim_id])
        if held is None or held.token != token or held.worker_id != worker_id:
            return None
        try:
            renewed = self._ask(lambda: self._change(held, ttl_seconds))
        except RedisUnavailableError:
            self._refuse_unless_alone("the claim was not renewed")
            renewed = True
        return self._table.renew(claim_id, worker_id, token, ttl_seconds) if renewed else None

    def release(self, claim_id: str, worker_id: UUID, token: int) -> bool:
        """Free the claim if it is held under this token; without Redis it stays taken there until it expires."""
        check_claim_id(claim_id)
        released = self._table.release(claim_id, worker_id, token)
        try:
            self._ask(lambda: self._give_back(claim_id, worker_id, token))
        except RedisUnavailableError:
            return released
        return released

    def _give_back(self, claim_id: str, worker_id: UUID, token: int) -> int:
        names = (self._keys.claim(claim_id), self._keys.meta)
        return int(self._link.run(_RENEW, names, [self._epoch(), str(worker_id), token, 0, b""]))

    def _change(self, claim: Claim, ttl_seconds: float) -> int:
        now = datetime.now(timezone.utc).timestamp()
        data = msgspec.Raw(msgspec.json.encode(claim.data))
        stored = _Stored(claim.worker_id, claim.created_at.timestamp(), now + ttl_seconds, data, claim.token)
        arguments: list[Argument] = [self._epoch(), str(claim.worker_id), claim.token, _milliseconds(ttl_seconds)]
        names = (self._keys.claim(claim.id), self._keys.meta)
        return int(self._link.run(_RENEW, names, [*arguments, msgspec.json.encode(stored)]))

    def _ask(self, question: Callable[[], int]) -> int:
        """Ask Redis, and once more when the epoch has changed meanwhile.

        Raises:
            RedisUnavailableError: it cannot be asked; the queue is degraded then.
        """
        if not self._mode.is_connected:
            raise RedisUnavailableError(str(self._mode.error))
        try:
            answer = question()
        except RedisUnavailableError as exc:
            self._degrade(exc)
            raise
        if answer == _EPOCH_OVER:
            over = RedisUnavailableError("the server has lost its state and this root is joining anew")
            self._degrade(over)
            raise over
        return answer

    def _refuse_unless_alone(self, what: str) -> None:
        if not self._roots.is_alone:
            raise self._mode.refusal(what)

    def get(self, claim_id: str) -> Claim:
        """Return a claim that is held, or raise ClaimNotFoundError."""
        (claim,) = self.batch_get([claim_id])
        if claim is None:
            raise ClaimNotFoundError(f"nobody holds the claim {claim_id!r:.200}")
        return claim

    def batch_get(self, claim_ids: Sequence[str]) -> list[Claim | None]:
        """Return claims in the order of their ids, None for what nobody holds."""
        local = self._table.batch_get(claim_ids)
        if not self._mode.is_connected or not claim_ids:
            return local
        try:
            values = self._link.command("MGET", *[self._keys.claim(each) for each in claim_ids])
        except RedisUnavailableError as exc:
            self._degrade(exc)
            return local
        return [_claim_of(name, value) for name, value in zip(claim_ids, values, strict=True)]

    def write_back(self) -> None:
        """Tell Redis of the claims this root holds; one that another worker holds there is lost here.

        Raises:
            RedisUnavailableError: Redis cannot be asked.
        """
        for claim in self._held_here():
            self._write_back(claim)

    def clear(self) -> None:
        """Forget every claim of this root, whoever holds it; tokens go on growing."""
        for claim in self._held_here():
            self.release(claim.id, claim.worker_id, claim.token)

    def _held_here(self) -> Iterator[Claim]:
        page_id: str | None = None
        while True:
            page = self._table.search(page_id, _PAGE_CLAIMS)
            yield from page.items
            if (page_id := page.next_page_id) is None:
                return

    def _write_back(self, claim: Claim) -> None:
        remaining = claim.expires_at.timestamp() - datetime.now(timezone.utc).timestamp()
        if remaining <= 0:
            return
        data = msgspec.Raw(msgspec.json.encode(claim.data))
        stored = _Stored(claim.worker_id, claim.created_at.timestamp(), claim.expires_at.timestamp(), data, claim.token)
        key = self._keys.claim(claim.id)
        if self._link.command("SET", key, msgspec.json.encode(stored), "NX", "PX", _milliseconds(remaining)) is None:
            held = _claim_of(claim.id, self._link.command("GET", key))
            if held is not None and (held.worker_id, held.token) != (claim.worker_id, claim.token):
                self._table.release(claim.id, claim.worker_id, claim.token)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _claim_of(claim_id: str, value: bytes | None) -> Claim | None:
    if value is None:
        return None
    stored = _decode(value)
    return Claim(
        id=claim_id,
        worker_id=stored.worker_id,
        created_at=datetime.fromtimestamp(stored.created_at, timezone.utc),
        data=msgspec.json.decode(stored.data),
        token=stored.token,
        expires_at=datetime.fromtimestamp(stored.expires_at, timezone.utc),
    )
