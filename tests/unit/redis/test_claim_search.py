"""Searching claims in Redis: pages, filters, and what is no claim."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.models import Claim
from eventy_sync.redis import claim_records, claim_search
from eventy_sync.redis.claim_search import ClaimSearch
from tests.unit.redis.conftest import Fake

ANN, BEN = UUID(int=1), UUID(int=2)
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
FAR_MILLISECONDS = 1e15


def claim(number: int) -> Claim:
    """Return one of a hundred claims."""
    created_at = START + timedelta(seconds=number)
    return Claim(f"c{number:03}", ANN if number % 3 else BEN, created_at, {"n": number}, number + 1, created_at)


def put(fake: Fake, *claims: Claim) -> None:
    """Let these be held."""
    for each in claims:
        fake.client.set(fake.keys.claim(each.id), claim_records.encode(each, 3600.0))
        fake.client.zadd(fake.keys.claims, {each.id: FAR_MILLISECONDS})
        fake.client.zadd(fake.keys.claim_ids, {each.id: 0})


@pytest.fixture
def search(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> ClaimSearch:
    """A hundred claims, of which the server is asked for seven at a time."""
    monkeypatch.setattr(claim_search, "_AT_ONCE", 7)
    put(fake, *(claim(number) for number in range(100)))
    return ClaimSearch(fake.keys, fake.link)


def all_pages(search: ClaimSearch, limit: int, *given: Any) -> list[list[str]]:
    """Return the ids on each page."""
    page = search.search(None, limit, *given)
    pages = [[each.id for each in page.items]]
    while page.next_page_id is not None:
        page = search.search(page.next_page_id, limit, *given)
        pages.append([each.id for each in page.items])
    return pages


FILTERS = [
    (None, None, None),
    (ANN, None, None),
    (BEN, None, None),
    (UUID(int=3), None, None),
    (None, START + timedelta(seconds=50), None),
    (None, None, START + timedelta(seconds=50)),
    (BEN, START + timedelta(seconds=10), START + timedelta(seconds=20)),
    (None, START + timedelta(seconds=20), START + timedelta(seconds=10)),
]


@pytest.mark.parametrize("given", FILTERS)
@pytest.mark.parametrize("limit", [1, 7, 33, 34, 99, 100, 101])
def test_pages_hold_what_a_plain_loop_finds(search: ClaimSearch, given: Any, limit: int) -> None:
    """By id, each full but the last, and no page without a claim behind one that is full; counting agrees."""
    worker_id, earliest, latest = given
    fitting = [
        each.id
        for each in map(claim, range(100))
        if worker_id in (None, each.worker_id)
        and (earliest is None or each.created_at >= earliest)
        and (latest is None or each.created_at <= latest)
    ]
    pages = all_pages(search, limit, *given)
    assert pages == ([fitting[start : start + limit] for start in range(0, len(fitting), limit)] or [[]])
    assert search.count(*given) == len(fitting)


def test_a_page_goes_on_behind_a_claim_that_has_ended_meanwhile(fake: Fake, search: ClaimSearch) -> None:
    """Its id is the place, whether or not it is held yet; what is taken before it does not come twice."""
    page = search.search(None, 10, None, None, None)
    fake.client.delete(fake.keys.claim("c009"), fake.keys.claim("c010"))
    fake.client.zrem(fake.keys.claim_ids, "c009")
    put(fake, Claim("c0005", ANN, START, None, 200, START))
    ids = [each.id for each in search.search(page.next_page_id, 3, None, None, None).items]
    assert ids == ["c011", "c012", "c013"]


def test_ids_of_any_kind_are_in_the_order_of_their_bytes(fake: Fake) -> None:
    """As pages need it; a bracket or a minus in an id means nothing to the server."""
    ids = ["(", "-", "[a", "+", "a b", "größe", "日本", "z" * 500, "a"]
    put(fake, *(Claim(each, ANN, START, None, 1, START) for each in ids))
    search = ClaimSearch(fake.keys, fake.link)
    assert [each for page in all_pages(search, 2, None, None, None) for each in page] == sorted(
        ids, key=lambda each: each.encode()
    )


def test_what_is_no_claim_is_passed_over(fake: Fake, search: ClaimSearch) -> None:
    """Evicted, or overwritten by another program: neither found nor an error."""
    fake.client.delete(fake.keys.claim("c001"))
    fake.client.set(fake.keys.claim("c002"), "a lock of mine")
    fake.client.delete(fake.keys.claim("c003"))
    fake.client.rpush(fake.keys.claim("c003"), "a queue of mine")
    assert search.batch_get(["c000", "c001", "c002", "c003", "none"])[1:] == [None] * 4
    assert all_pages(search, 100, None, None, None)[0][:2] == ["c000", "c004"]
    assert search.count(ANN, None, None) + search.count(BEN, None, None) == 97


def test_claims_come_in_the_order_of_their_ids(search: ClaimSearch) -> None:
    """As they were asked for, also twice."""
    found = search.batch_get(["c005", "none", "c001", "c005"])
    assert [each and (each.id, each.data) for each in found] == [
        ("c005", {"n": 5}),
        None,
        ("c001", {"n": 1}),
        ("c005", {"n": 5}),
    ]


def test_without_a_filter_those_that_have_ended_do_not_count(fake: Fake, search: ClaimSearch) -> None:
    """By the server's clock, whether or not they were cleaned up; an evicted one counts, because it is held."""
    now = time.time() * 1000
    fake.client.zadd(fake.keys.claims, {"c000": now - 1, "c001": now - 1000, "c002": now + 60_000, "c003": 0})
    fake.client.delete(fake.keys.claim("c004"))
    assert search.count(None, None, None) == 97


def test_nothing_is_found_where_nothing_is(fake: Fake) -> None:
    """On a server that is new."""
    search = ClaimSearch(fake.keys, fake.link)
    assert all_pages(search, 10, None, None, None) == [[]]
    assert search.count(None, None, None) == 0
    assert search.count(ANN, None, None) == 0


@pytest.mark.parametrize(
    ("page_id", "limit", "given"),
    [
        (None, 0, (None, None, None)),
        (None, -1, (None, None, None)),
        ("nonsense", 10, (None, None, None)),
        (None, 10, ("ann", None, None)),
        (None, 10, (None, datetime(2026, 1, 1), None)),
        (None, 10, (None, None, datetime(2026, 1, 1))),
        (None, 10, (None, None, "2026-01-01")),
    ],
)
def test_what_cannot_be_asked_is_refused(search: ClaimSearch, page_id: str | None, limit: int, given: Any) -> None:
    """A limit below 1, a page id of no list, a worker that is no UUID, a time without a zone."""
    with pytest.raises(InvalidArgumentError):
        search.search(page_id, limit, *given)
    if given != (None, None, None):
        with pytest.raises(InvalidArgumentError):
            search.count(*given)
