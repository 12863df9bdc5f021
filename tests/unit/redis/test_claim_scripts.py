"""Taking, prolonging and freeing one claim; claim.lua and renew.lua."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import pytest

from eventy_sync.models import Claim
from eventy_sync.redis import claim_records
from eventy_sync.redis.claim_scripts import HELD, NOT_NOW, ClaimScripts
from eventy_sync.redis.messages import AddClaim, RemoveClaim
from eventy_sync.redis.sessions import Sessions
from tests.unit.redis.conftest import Fake

ROOT, ANN, BEN, QUEUE = (UUID(int=number) for number in range(1, 5))
EPOCH = "e1"
TTL_SECONDS = 60.0


class Scripts:
    """What one root asks, under the present epoch unless it is told another."""

    def __init__(self, fake: Fake) -> None:
        self.fake, self.sessions, self.epoch = fake, Sessions(), EPOCH.encode()
        self.scripts = ClaimScripts(fake.keys, fake.link, self.sessions, ROOT, lambda: self.epoch, lambda: QUEUE)
        fake.begin_epoch(EPOCH)

    def take(self, claim_id: str = "x", worker_id: UUID = ANN, last_token: int = 0, data: str = "null") -> int:
        return self.scripts.take(claim_id, worker_id, data, TTL_SECONDS, last_token, lambda epoch: None)

    def claim(self, claim_id: str = "x") -> Claim | None:
        """Return the claim as it is in Redis."""
        return claim_records.decode(claim_id, self.fake.client.get(self.fake.keys.claim(claim_id)))

    def held(self, claim_id: str = "x") -> Claim:
        found = self.claim(claim_id)
        assert found is not None
        return found

    def indexes(self) -> tuple[dict[str, float], list[str]]:
        """Return in how many seconds claims end, by the one, and their ids, by the other."""
        ends = self.fake.client.zrange(self.fake.keys.claims, 0, -1, withscores=True)
        ids = self.fake.client.zrange(self.fake.keys.claim_ids, 0, -1)
        now = time.time()
        return {name.decode(): at / 1000 - now for name, at in ends}, [name.decode() for name in ids]

    def holders(self) -> dict[str, str]:
        """Return who holds each claim under which token, as it stands beside the indexes."""
        found = self.fake.client.hgetall(self.fake.keys.claim_holders)
        return {name.decode(): value.decode() for name, value in found.items()}

    def evict(self, claim_id: str = "x") -> None:
        """Let the server be short of memory."""
        assert self.fake.client.delete(self.fake.keys.claim(claim_id)) == 1

    def let_end(self, claim_id: str = "x") -> None:
        """Let its time be over."""
        self.fake.client.delete(self.fake.keys.claim(claim_id))
        self.fake.client.zadd(self.fake.keys.claims, {claim_id: time.time() * 1000 - 1})


@pytest.fixture
def scripts(fake: Fake) -> Scripts:
    """One root on a server that has an epoch."""
    return Scripts(fake)


def check_lasts(scripts: Scripts, seconds: float, claim_id: str = "x") -> None:
    """Key, record and index end at the same time, both indexes have it, and its holder stands beside them."""
    ends, ids = scripts.indexes()
    assert claim_id in ids
    assert scripts.holders()[claim_id] == f"{scripts.held(claim_id).worker_id} {scripts.held(claim_id).token}"
    assert abs(ends[claim_id] - seconds) < 20
    assert abs(scripts.fake.client.pttl(scripts.fake.keys.claim(claim_id)) / 1000 - seconds) < 20
    left = (scripts.held(claim_id).expires_at - datetime.now(timezone.utc)).total_seconds()
    assert abs(left - seconds) < 20


def test_a_free_claim_is_granted(scripts: Scripts) -> None:
    """Under the first token; record, indexes and message say the same."""
    assert scripts.take(data='{"n":1}') == 1
    claim = scripts.held()
    assert (claim.worker_id, claim.data, claim.token) == (ANN, {"n": 1}, 1)
    check_lasts(scripts, TTL_SECONDS)
    assert scripts.fake.published() == [AddClaim(str(ANN), str(ROOT), "x", 1)]
    assert scripts.fake.meta()[b"token"] == b"1"


@pytest.mark.parametrize("claim_id", ['quote " and \\', "größe", "a:b", "%d", "z" * 500])
def test_a_claims_id_is_any_text(scripts: Scripts, claim_id: str) -> None:
    """In its key, the indexes and the messages."""
    assert scripts.take(claim_id) == 1
    assert scripts.indexes()[1] == [claim_id]
    assert scripts.scripts.free(claim_id, ANN, 1) == 1
    assert scripts.fake.published() == [
        AddClaim(str(ANN), str(ROOT), claim_id, 1),
        RemoveClaim(str(ANN), str(ROOT), claim_id, 1),
    ]
    assert scripts.indexes() == ({}, [])


def test_a_claim_that_is_held_is_not_granted(scripts: Scripts) -> None:
    """Not even to its holder; no token is spent, nobody is woken, its time is as it was."""
    scripts.take()
    before = scripts.fake.everything()
    scripts.fake.published()
    assert scripts.take(worker_id=BEN) == HELD
    assert scripts.take() == HELD
    assert scripts.fake.everything() == before
    assert scripts.fake.published() == []


def test_an_evicted_claim_is_held(scripts: Scripts) -> None:
    """Its time is not over by the index, so its holder goes on."""
    scripts.take()
    scripts.evict()
    assert scripts.take(worker_id=BEN) == HELD
    assert scripts.claim() is None


@pytest.mark.parametrize("foreign", ["a lock of mine", "{}", ""])
def test_what_another_program_has_put_there_is_not_overwritten(scripts: Scripts, foreign: str) -> None:
    """The claim is not granted, and no index takes it for held."""
    scripts.fake.client.set(scripts.fake.keys.claim("x"), foreign)
    assert scripts.take() == HELD
    assert scripts.fake.client.get(scripts.fake.keys.claim("x")) == foreign.encode()
    assert scripts.indexes() == ({}, [])


def test_a_claim_whose_time_is_over_is_granted_under_a_later_token(scripts: Scripts) -> None:
    """Also where it is in the indexes yet."""
    scripts.take()
    scripts.let_end()
    assert scripts.take(worker_id=BEN) == 2
    assert (scripts.held().worker_id, scripts.held().token) == (BEN, 2)
    check_lasts(scripts, TTL_SECONDS)


@pytest.mark.parametrize(
    ("last_here", "last_there", "token"),
    [(0, None, 1), (0, "7", 8), (7, None, 8), (7, "9", 10), (9, "7", 10), (2**53 - 2, "7", 2**53 - 1)],
)
def test_tokens_go_on_from_the_largest_known(
    scripts: Scripts, last_here: int, last_there: str | None, token: int
) -> None:
    """The server may have lost some, and another root have given out more; large ones stay whole numbers."""
    if last_there is not None:
        scripts.fake.begin_epoch(EPOCH, token=last_there)
    assert scripts.take(last_token=last_here) == token
    assert scripts.held().token == token
    assert scripts.fake.meta()[b"token"] == b"%d" % token
    assert scripts.fake.published() == [AddClaim(str(ANN), str(ROOT), "x", token)]


@pytest.mark.parametrize(
    "meta", [{"epoch": "e2"}, {"awaiting": "1"}, {"void": "{session}"}, {"void": "aaaaaaaa {session} bbbbbbbb"}]
)
def test_a_claim_is_not_granted_now(scripts: Scripts, meta: dict[str, str]) -> None:
    """In another epoch, while roots are awaited, to a session that was given up; nothing is left of the attempt."""
    scripts.sessions.give_up(scripts.scripts._session)
    (session,) = scripts.sessions.void()
    scripts.fake.begin_epoch(
        **{"epoch": EPOCH, **{name: value.format(session=session) for name, value in meta.items()}}
    )
    before = scripts.fake.everything()
    assert scripts.take() == NOT_NOW
    assert scripts.fake.everything() == before
    assert scripts.fake.published() == []


def test_on_a_server_that_is_new_nothing_is_granted(scripts: Scripts) -> None:
    """It has no epoch: whoever asks has to join."""
    scripts.fake.client.flushall()
    assert scripts.take() == NOT_NOW
    assert scripts.scripts.free("x", ANN, 1) == NOT_NOW
    assert scripts.fake.everything() == {}


def test_a_session_that_was_given_up_is_another_one_from_then_on(scripts: Scripts) -> None:
    """A request of the old one that arrives late is void; those that follow are served."""
    late = scripts.scripts._session
    scripts.scripts.give_up_session()
    scripts.fake.begin_epoch(EPOCH, void=" ".join(scripts.sessions.void()))
    assert scripts.sessions.void() == (late.decode(),)
    assert scripts.take() == 1
    scripts.scripts._session = late
    assert scripts.take("y") == NOT_NOW


def test_what_is_over_is_swept_now_and_then(scripts: Scripts) -> None:
    """With every sixteenth token, from both indexes and the holders; what is held stays."""
    scripts.take("held")
    for number in range(60):
        scripts.fake.client.zadd(scripts.fake.keys.claims, {f"over{number}": 1})
        scripts.fake.client.zadd(scripts.fake.keys.claim_ids, {f"over{number}": 0})
        scripts.fake.client.hset(scripts.fake.keys.claim_holders, f"over{number}", f"{BEN} 1")
    assert scripts.take(last_token=14) == 15
    assert len(scripts.indexes()[0]) == 62
    assert scripts.take("y") == 16
    ends, ids = scripts.indexes()
    assert len(ends) == 13  # fifty at a time
    assert set(ids) == set(ends) == set(scripts.holders())
    assert {"held", "x", "y"} <= set(ends)


# -- prolonging and freeing ------------------------------------------------------------------------------------


def test_a_claim_is_prolonged_by_its_holder(scripts: Scripts) -> None:
    """From now on; all but its end is as it was, and nobody needs to hear."""
    scripts.take(data='{"n":1}')
    claim = scripts.held()
    scripts.fake.published()
    assert scripts.scripts.prolong(claim, 3600.0) == 1
    check_lasts(scripts, 3600.0)
    assert replace(scripts.held(), expires_at=claim.expires_at) == claim
    assert scripts.fake.published() == []


def test_a_claim_is_freed_by_its_holder(scripts: Scripts) -> None:
    """Nothing is left of it but its token, and all hear of it."""
    scripts.take()
    scripts.fake.published()
    assert scripts.scripts.free("x", ANN, 1) == 1
    assert scripts.claim() is None
    assert scripts.indexes() == ({}, [])
    assert scripts.holders() == {}
    assert scripts.fake.published() == [RemoveClaim(str(ANN), str(ROOT), "x", 1)]
    assert scripts.scripts.free("x", ANN, 1) == HELD
    assert scripts.take(worker_id=BEN) == 2


CHANGES: dict[str, Any] = {
    "prolong": lambda scripts, claim: scripts.prolong(claim, 3600.0),
    "free": lambda scripts, claim: scripts.free(claim.id, claim.worker_id, claim.token),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        ({"worker_id": BEN}, HELD),
        ({"token": 1}, HELD),
        ({"token": 3}, HELD),
        ({"id": "y"}, HELD),
    ],
)
def test_nobody_else_can_change_a_claim(scripts: Scripts, change: Any, wrong: dict[str, Any], answer: int) -> None:
    """Another worker, another token, another claim: nothing happens."""
    scripts.take(last_token=1)
    claim = replace(scripts.held(), **wrong)
    before = scripts.fake.everything()
    scripts.fake.published()
    assert change(scripts.scripts, claim) == answer
    assert scripts.fake.everything() == before
    assert scripts.fake.published() == []


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_in_another_epoch_nothing_is_changed(scripts: Scripts, change: Any) -> None:
    """Whoever holds it: it may have lost it."""
    scripts.take()
    scripts.epoch = b"e0"
    before = scripts.fake.everything()
    assert change(scripts.scripts, scripts.held()) == NOT_NOW
    assert scripts.fake.everything() == before


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_claim_that_has_ended_cannot_be_changed(scripts: Scripts, change: Any) -> None:
    """It may be another's by now, or soon."""
    scripts.take()
    claim = scripts.held()
    scripts.let_end()
    before = scripts.fake.everything()
    assert change(scripts.scripts, claim) == HELD
    assert scripts.fake.everything() == before


def test_an_evicted_claim_is_put_back_when_it_is_prolonged(scripts: Scripts) -> None:
    """As it was, with a new end."""
    scripts.take(data='{"n":1}')
    claim = scripts.held()
    scripts.evict()
    assert scripts.scripts.prolong(claim, 3600.0) == 1
    assert replace(scripts.held(), expires_at=claim.expires_at) == claim
    check_lasts(scripts, 3600.0)


def test_an_evicted_claim_can_be_freed(scripts: Scripts) -> None:
    """Somebody may wait for it."""
    scripts.take()
    scripts.evict()
    assert scripts.scripts.free("x", ANN, 1) == 1
    assert scripts.take(worker_id=BEN) == 2


class CrowdedSessions(Sessions):
    """Sessions of which another thread gives up one, too, while one is given up for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: set[str] = set()
        self.others: list[threading.Thread] = []
        self.happen: Callable[[], object]

    def begin(self) -> bytes:
        session = super().begin()
        self.begun.add(session.decode())
        return session

    def give_up(self, session: bytes) -> None:
        super().give_up(session)
        if not self.others:
            self.others.append(threading.Thread(target=self.happen))
            self.others[0].start()
            self.others[0].join(0.1)  # it comes between, or waits until this is over


def test_no_session_is_left_without_being_given_up(fake: Fake) -> None:
    """Or a request that another thread has sent under it would be served late."""
    sessions = CrowdedSessions()
    scripts = ClaimScripts(fake.keys, fake.link, sessions, ROOT, lambda: b"", lambda: QUEUE)
    sessions.happen = scripts.give_up_session
    scripts.give_up_session()
    sessions.others[0].join()
    assert sessions.begun - set(sessions.void()) == {scripts._session.decode()}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize(("successor", "last_token"), [(BEN, 0), (BEN, None), (ANN, 0)])
def test_an_evicted_claim_of_a_successor_cannot_be_changed(
    scripts: Scripts, change: Any, successor: UUID, last_token: int | None
) -> None:
    """Whose time was over gets it not back, nor frees it: another has it, or the same worker under a later token.

    Nor does the token alone say whose it is: a server that has lost tokens may give one out twice.
    """
    scripts.take()
    claim = scripts.held()
    scripts.let_end()
    if last_token is None:
        scripts.fake.client.hdel(scripts.fake.keys.meta, "token")
    assert scripts.take(worker_id=successor) == (1 if last_token is None else 2)
    scripts.evict()
    before = scripts.fake.everything()
    scripts.fake.published()
    assert change(scripts.scripts, claim) == HELD
    assert scripts.fake.everything() == before
    assert scripts.fake.published() == []
    assert scripts.take(worker_id=BEN) == HELD


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_an_evicted_claim_whose_holder_was_evicted_too_is_nobodys(scripts: Scripts, change: Any) -> None:
    """Nobody can say that it is not another's."""
    scripts.take()
    claim = scripts.held()
    scripts.evict()
    scripts.fake.client.delete(scripts.fake.keys.claim_holders)
    before = scripts.fake.everything()
    assert change(scripts.scripts, claim) == HELD
    assert scripts.fake.everything() == before


@pytest.mark.parametrize("index", ["claims", "claim_ids", "claim_holders"])
def test_an_index_that_was_evicted_alone_has_a_claim_again_when_it_is_prolonged(scripts: Scripts, index: str) -> None:
    """So it is found, and kept for its holder if its key is evicted next."""
    scripts.take()
    scripts.fake.client.delete(getattr(scripts.fake.keys, index))
    assert scripts.scripts.prolong(scripts.held(), 3600.0) == 1
    check_lasts(scripts, 3600.0)
