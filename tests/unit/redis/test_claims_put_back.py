"""Putting claims back that the server has lost or never had; restore.lua.  And what another program has put there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from eventy_sync.models import Claim
from eventy_sync.redis import claim_records
from eventy_sync.redis.claim_scripts import HELD, ClaimScripts
from eventy_sync.redis.link import Link
from eventy_sync.redis.sessions import Sessions
from eventy_sync.storage.state import Held
from tests.unit.redis.conftest import Fake

ROOT, ANN, BEN, QUEUE = (UUID(int=number) for number in range(1, 5))
NOW = datetime.now(timezone.utc).replace(microsecond=0)
MINE = Claim("x", ANN, NOW, {"n": 1}, 5, NOW + timedelta(seconds=60))
FOREIGN = {
    "a text": b"a lock of mine",
    "empty": b"",
    "no text": b"\xff\xfe",
    "a number": b"7",
    "null": b"null",
    "a list": b"[1,2]",
    "an empty object": b"{}",
    "a worker alone": b'{"worker_id":"someone"}',
    "a token in a text": b'{"worker_id":"someone","token":"9"}',
}


@pytest.fixture
def scripts(fake: Fake) -> ClaimScripts:
    """What one root asks."""
    fake.begin_epoch("e1", queue_id=str(QUEUE))
    return ClaimScripts(fake.keys, fake.link, Sessions(), ROOT, lambda: b"e1", lambda: QUEUE)


def put(fake: Fake, claim: Claim) -> None:
    """Let the server have this claim."""
    fake.client.set(fake.keys.claim(claim.id), claim_records.encode(claim, 600.0))
    fake.client.zadd(fake.keys.claims, {claim.id: (time.time() + 600) * 1000})
    fake.client.zadd(fake.keys.claim_ids, {claim.id: 0})
    fake.client.hset(fake.keys.claim_holders, claim.id, f"{claim.worker_id} {claim.token}")


def in_redis(fake: Fake, claim_id: str = "x") -> Claim | None:
    return claim_records.decode(claim_id, fake.client.get(fake.keys.claim(claim_id)))


def check_lasts(fake: Fake, claim_id: str, seconds: float) -> None:
    """Key and index end together, it can be found by its id, and its holder stands beside the indexes."""
    assert abs(fake.client.pttl(fake.keys.claim(claim_id)) / 1000 - seconds) < 20
    assert abs(fake.client.zscore(fake.keys.claims, claim_id) / 1000 - time.time() - seconds) < 20
    assert fake.client.zscore(fake.keys.claim_ids, claim_id) == 0
    if (there := in_redis(fake, claim_id)) is not None:
        holder = fake.client.hget(fake.keys.claim_holders, claim_id)
        assert holder == f"{there.worker_id} {there.token}".encode()


@pytest.mark.parametrize(
    "there",
    [
        None,  # lost
        MINE,
        replace(MINE, token=4),  # renumbered since
        replace(MINE, worker_id=BEN, token=4),  # granted by a server that had lost tokens
        replace(MINE, worker_id=BEN, token=5),
    ],
)
def test_a_claim_is_put_back(fake: Fake, scripts: ClaimScripts, there: Claim | None) -> None:
    """Whatever is there, unless another worker holds it under a later token; it lasts as long as it has left."""
    if there is not None:
        put(fake, there)
    assert scripts.restore([Held(MINE, 60.0)]) == []
    found = in_redis(fake)
    assert found is not None
    assert (found.worker_id, found.token, found.data, found.created_at) == (ANN, 5, {"n": 1}, NOW)
    check_lasts(fake, "x", 60.0)
    assert fake.published() == []


@pytest.mark.parametrize(
    ("there", "lasts_seconds"),
    [
        (MINE, 600.0),  # renewed while this was on its way
        (replace(MINE, token=6), 600.0),  # granted anew while this was on its way
        (replace(MINE, token=6), 30.0),
    ],
)
@pytest.mark.parametrize("has_lost_indexes", [False, True])
def test_a_claim_that_its_worker_holds_for_longer_is_not_set_back(
    fake: Fake, scripts: ClaimScripts, there: Claim, lasts_seconds: float, has_lost_indexes: bool
) -> None:
    """But indexes that were lost have it again, for as long as it lasts: nobody else may be granted it meanwhile."""
    put(fake, there)
    fake.client.pexpire(fake.keys.claim("x"), int(lasts_seconds * 1000))
    fake.client.zadd(fake.keys.claims, {"x": (time.time() + lasts_seconds) * 1000})
    before = in_redis(fake)
    if has_lost_indexes:
        fake.client.delete(fake.keys.claims, fake.keys.claim_ids, fake.keys.claim_holders)
    assert scripts.restore([Held(MINE, 60.0)]) == []
    assert in_redis(fake) == before
    check_lasts(fake, "x", lasts_seconds)


def test_a_claim_that_another_worker_holds_under_a_later_token_is_lost(fake: Fake, scripts: ClaimScripts) -> None:
    """It is named, and stays the other's."""
    put(fake, replace(MINE, worker_id=BEN, token=6))
    before = fake.everything()
    assert scripts.restore([Held(MINE, 60.0)]) == [MINE]
    assert fake.everything() == before


@pytest.mark.parametrize("there", [None, replace(MINE, worker_id=BEN, token=4), replace(MINE, worker_id=BEN, token=6)])
def test_nothing_is_put_into_another_queue_of_this_name(fake: Fake, scripts: ClaimScripts, there: Claim | None) -> None:
    """Nor is anything lost here: its claims are none of ours."""
    fake.begin_epoch("e1", queue_id=str(UUID(int=9)))
    if there is not None:
        put(fake, there)
    before = fake.everything()
    assert scripts.restore([Held(MINE, 60.0)]) == []
    assert fake.everything() == before


def test_a_server_that_has_lost_which_queue_it_has_takes_them(fake: Fake, scripts: ClaimScripts) -> None:
    """They are there before anybody may be granted them."""
    fake.client.flushall()
    assert scripts.restore([Held(MINE, 60.0)]) == []
    check_lasts(fake, "x", 60.0)


@pytest.mark.parametrize(("holder", "is_lost"), [(ANN, False), (BEN, True)])
def test_from_elsewhere_a_claim_is_lost_to_whoever_holds_it(
    fake: Fake, scripts: ClaimScripts, holder: UUID, is_lost: bool
) -> None:
    """A later token of another queue means nothing."""
    put(fake, replace(MINE, worker_id=holder, token=4))
    assert scripts.restore([Held(MINE, 60.0)], are_from_elsewhere=True) == [MINE] * is_lost
    found = in_redis(fake)
    assert found is not None
    assert (found.worker_id, found.token) == ((BEN, 4) if is_lost else (ANN, 5))


def test_many_are_put_back_at_once(fake: Fake, scripts: ClaimScripts) -> None:
    """Each with its own time; those that are lost are named, in order, and the others are put back all the same."""
    mine = [replace(MINE, id=f"c{number}", token=number + 1) for number in range(100)]
    lost = [each for each in mine if each.token % 7 == 0]
    for each in lost:
        put(fake, replace(each, worker_id=BEN, token=1000))
    assert scripts.restore([Held(each, 100.0 * each.token) for each in mine]) == lost
    for each in mine:
        holder = BEN if each in lost else ANN
        found = in_redis(fake, each.id)
        assert found is not None
        assert found.worker_id == holder
        if each not in lost:
            check_lasts(fake, each.id, 100.0 * each.token)
    assert fake.client.zcard(fake.keys.claims) == fake.client.zcard(fake.keys.claim_ids) == 100


def test_nothing_to_put_back_is_nothing(fake: Fake, scripts: ClaimScripts) -> None:
    """A root without claims."""
    before = fake.everything()
    assert scripts.restore([]) == []
    assert fake.everything() == before


def test_a_claim_that_is_about_to_end_is_put_back_for_a_moment(fake: Fake, scripts: ClaimScripts) -> None:
    """A millisecond at least: none, or less, would be an error of the server's."""
    for seconds in (0.0, -5.0, 0.0001):
        assert scripts.restore([Held(MINE, seconds)]) == []
    assert fake.client.zscore(fake.keys.claims, "x") <= time.time() * 1000 + 1


# -- what was evicted, what is late, what is not certain ---------------------------------------------------------


def evict(fake: Fake, claim: Claim) -> None:
    """Let the server have this claim, and be short of memory."""
    put(fake, claim)
    fake.client.delete(fake.keys.claim(claim.id))


@pytest.mark.parametrize(
    ("there", "is_lost"),
    [
        (replace(MINE, worker_id=BEN, token=6), True),
        (replace(MINE, worker_id=BEN, token=4), False),
        (replace(MINE, token=4), False),
    ],
)
def test_an_evicted_claim_is_still_whose_it_was(fake: Fake, scripts: ClaimScripts, there: Claim, is_lost: bool) -> None:
    """A later one of another worker is not covered with an old one of this root's; it is as if it stood there."""
    evict(fake, there)
    before = fake.everything()
    assert scripts.restore([Held(MINE, 60.0)]) == [MINE] * is_lost
    if is_lost:
        assert fake.everything() == before
    else:
        check_lasts(fake, "x", 60.0)


def test_an_evicted_claim_that_was_renewed_meanwhile_lasts_as_long(fake: Fake, scripts: ClaimScripts) -> None:
    """It is put back for as long as the server says."""
    evict(fake, MINE)
    assert scripts.restore([Held(MINE, 60.0)]) == []
    check_lasts(fake, "x", 600.0)


def test_an_evicted_claim_that_its_worker_was_granted_anew_stays_so(fake: Fake, scripts: ClaimScripts) -> None:
    """Under the old token nobody could renew it."""
    evict(fake, replace(MINE, token=6))
    assert scripts.restore([Held(MINE, 60.0)]) == []
    assert in_redis(fake) is None
    assert scripts.prolong(replace(MINE, token=6), 60.0) == 1


def test_an_evicted_claim_of_nobody_knows_whom_is_lost(fake: Fake, scripts: ClaimScripts) -> None:
    """As when it is renewed: nobody can say that it is not another's."""
    evict(fake, MINE)
    fake.client.delete(fake.keys.claim_holders)
    before = fake.everything()
    assert scripts.restore([Held(MINE, 60.0)]) == [MINE]
    assert fake.everything() == before


def late(fake: Fake, happens: Callable[[ClaimScripts], object]) -> list[Claim]:
    """Put a claim back with a request before which this happens, once it is on its way; return what is lost."""

    class Slow(Link):
        def run(self, *args: Any) -> Any:
            if not happened:
                happened.append(happens(scripts))
            return super().run(*args)

    happened: list[object] = []
    sessions = Sessions()
    fake.begin_epoch("e1", queue_id=str(QUEUE))
    link = Slow(fake.pool.make)
    scripts = ClaimScripts(fake.keys, link, sessions, ROOT, lambda: b"e1", lambda: QUEUE)
    try:
        return scripts.restore([Held(MINE, 60.0)])
    finally:
        link.close()


def test_what_arrives_after_it_was_given_up_puts_nothing_back(fake: Fake) -> None:
    """The claim may have been freed since, and would be taken until its time is over."""

    def give_up(scripts: ClaimScripts) -> None:
        scripts.give_up_session()
        fake.begin_epoch("e1", void=" ".join(scripts._sessions.void()))

    assert late(fake, give_up) == []
    assert in_redis(fake) is None
    assert fake.client.zcard(fake.keys.claims) == 0


def test_what_arrives_in_another_epoch_is_sent_again(fake: Fake) -> None:
    """A void session is forgotten with its epoch, so nothing is put back that was sent in another."""
    refused: list[Claim | None] = []

    def begin_another(scripts: ClaimScripts) -> None:
        fake.begin_epoch("e2")
        refused.append(in_redis(fake))

    assert late(fake, begin_another) == []
    assert refused == [None]
    check_lasts(fake, "x", 60.0)


@pytest.mark.parametrize("there", [None, replace(MINE, worker_id=BEN, token=4), replace(MINE, worker_id=BEN, token=6)])
def test_what_redis_is_asked_for_in_this_epoch_is_not_put_back(
    fake: Fake, scripts: ClaimScripts, there: Claim | None
) -> None:
    """The server has granted it, and knows, or it has not."""
    if there is not None:
        put(fake, there)
    before = fake.everything()
    assert scripts.restore([Held(MINE, 60.0, "e1")]) == []
    assert fake.everything() == before


@pytest.mark.parametrize(
    ("there", "is_lost"), [(None, False), (MINE, False), (replace(MINE, worker_id=BEN, token=4), True)]
)
def test_what_redis_was_asked_for_in_another_epoch_is_put_back_where_nobody_has_it(
    fake: Fake, scripts: ClaimScripts, there: Claim | None, is_lost: bool
) -> None:
    """It was granted, perhaps; another worker's claim, whatever its token, was for certain."""
    if there is not None:
        put(fake, there)
    assert scripts.restore([Held(MINE, 60.0, "e0")]) == [MINE] * is_lost
    found = in_redis(fake)
    assert found is not None
    assert found.worker_id == (BEN if is_lost else ANN)


# -- what another program has put there ------------------------------------------------------------------------


@pytest.mark.parametrize("value", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_no_claim_has_taken_the_claim_away(fake: Fake, scripts: ClaimScripts, value: bytes) -> None:
    """Its holder hears that it is lost, so it joins all the same; the others are put back."""
    other = replace(MINE, id="y")
    fake.client.set(fake.keys.claim("x"), value)
    assert scripts.restore([Held(MINE, 60.0), Held(other, 60.0)]) == [MINE]
    assert fake.client.get(fake.keys.claim("x")) == value
    check_lasts(fake, "y", 60.0)


def test_a_key_of_another_type_has_taken_the_claim_away(fake: Fake, scripts: ClaimScripts) -> None:
    """As one with a text that is no claim has."""
    other = replace(MINE, id="y")
    fake.client.hset(fake.keys.claim("x"), "a", "b")
    assert scripts.restore([Held(MINE, 60.0), Held(other, 60.0)]) == [MINE]
    assert fake.client.hgetall(fake.keys.claim("x")) == {b"a": b"b"}
    check_lasts(fake, "y", 60.0)


CHANGES: dict[str, Callable[[ClaimScripts], int]] = {
    "prolong": lambda scripts: scripts.prolong(MINE, 60.0),
    "free": lambda scripts: scripts.free("x", ANN, 5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("value", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_no_claim_is_not_held(
    fake: Fake, scripts: ClaimScripts, change: Callable[[ClaimScripts], int], value: bytes
) -> None:
    """Nor is it overwritten or deleted."""
    put(fake, MINE)
    fake.client.set(fake.keys.claim("x"), value)
    assert change(scripts) == HELD
    assert fake.client.get(fake.keys.claim("x")) == value


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_key_of_another_type_is_not_held(
    fake: Fake, scripts: ClaimScripts, change: Callable[[ClaimScripts], int]
) -> None:
    """As one with a text that is no claim is not."""
    put(fake, MINE)
    fake.client.delete(fake.keys.claim("x"))
    fake.client.hset(fake.keys.claim("x"), "a", "b")
    assert change(scripts) == HELD
    assert fake.client.hgetall(fake.keys.claim("x")) == {b"a": b"b"}
