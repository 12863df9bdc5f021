"""Looking at the claims of all roots: by their ids, and by what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.models import Claim, Page
from eventy_sync.paging import check_limit, check_time, decode_page_id, encode_page_id
from eventy_sync.redis import claim_records
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link

_KIND = "claims"
_AT_ONCE = 200

Fits = Callable[[Claim], bool]


class ClaimSearch:
    """Thread safe.  All methods raise RedisUnavailableError where Redis cannot be had."""

    def __init__(self, keys: Keys, link: Link) -> None:
        self._keys, self._link = keys, link

    def batch_get(self, claim_ids: Sequence[str]) -> list[Claim | None]:
        """Return claims in the order of their ids, None for what nobody holds."""
        values = self._link.command("MGET", *[self._keys.claim(each) for each in claim_ids])
        return [claim_records.decode(name, value) for name, value in zip(claim_ids, values, strict=True)]

    def search(
        self,
        page_id: str | None,
        limit: int,
        worker_id: UUID | None,
        earliest: datetime | None,
        latest: datetime | None,
    ) -> Page[Claim]:
        """See `ClaimAuthority.search`."""
        check_limit(limit)
        fits = _filter(worker_id, earliest, latest)
        after = None if page_id is None else str(decode_page_id(_KIND, page_id))
        found: list[Claim] = []
        for claim in self._held(after):
            if fits(claim):
                if len(found) == limit:
                    return Page(found, encode_page_id(_KIND, found[-1].id))
                found.append(claim)
        return Page(found, None)

    def count(self, worker_id: UUID | None, earliest: datetime | None, latest: datetime | None) -> int:
        """See `ClaimAuthority.count`.  Without a filter this costs the same however many there are."""
        if worker_id is None and earliest is None and latest is None:
            seconds, microseconds = self._link.command("TIME")  # the server's: it ends claims
            now = int(seconds) * 1000 + int(microseconds) // 1000
            return int(self._link.command("ZCOUNT", self._keys.claims, f"({now}", "+inf"))
        fits = _filter(worker_id, earliest, latest)
        return sum(fits(claim) for claim in self._held(None))

    def _held(self, after: str | None) -> Iterator[Claim]:
        """Yield the claims behind this id, by id."""
        while True:
            start = "-" if after is None else f"({after}"
            names = self._link.command("ZRANGEBYLEX", self._keys.claim_ids, start, "+", "LIMIT", 0, _AT_ONCE)
            if not names:
                return
            claim_ids = [name.decode() for name in names]
            for claim in self.batch_get(claim_ids):
                if claim is not None:
                    yield claim
            after = claim_ids[-1]


def _filter(worker_id: UUID | None, earliest: datetime | None, latest: datetime | None) -> Fits:
    if worker_id is not None and not isinstance(worker_id, UUID):
        raise InvalidArgumentError(f"worker_id__eq must be a UUID, not {worker_id!r:.50}")
    check_time(earliest)
    check_time(latest)

    def fits(claim: Claim) -> bool:
        return (
            (worker_id is None or claim.worker_id == worker_id)
            and (earliest is None or claim.created_at >= earliest)
            and (latest is None or claim.created_at <= latest)
        )

    return fits
