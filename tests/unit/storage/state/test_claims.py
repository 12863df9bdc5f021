"""Claims: one holder, a time, a token that only grows, whatever the clocks do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventy_sync import ClaimNotFoundError, InvalidArgumentError
from eventy_sync.storage.state import ClaimTable
from eventy_sync.storage.state.boot_clock import read_clocks
from eventy_sync.storage.state.connection import Connection
from tests.unit.storage.state.clocks_by_hand import Clocks

ANN, BOB = UUID(int=1), UUID(int=2)
HOUR = 3_600_000_000


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def claims(tmp_path: Path, clocks: Clocks) -> Iterator[ClaimTable]:
    connection = Connection(tmp_path / "state.db", sync_every_commit=False)
    yield ClaimTable(connection, clocks)
    connection.close()


def held_by(claims: ClaimTable, name: str) -> UUID | None:
    (claim,) = claims.batch_get([name])
    return None if claim is None else claim.worker_id


def take(claims: ClaimTable, name: str, worker: UUID, ttl_seconds: float = 10.0, data: Any = None) -> int:
    claim = claims.create(name, worker, data, ttl_seconds)
    return 0 if claim is None else claim.token


def test_a_claim_has_one_holder(claims: ClaimTable) -> None:
    """The second attempt gets none, also by the holder."""
    assert take(claims, "x", ANN) == 1
    assert take(claims, "x", BOB) == 0
    assert take(claims, "x", ANN) == 0
    assert take(claims, "y", BOB) == 2


def test_a_claim_ends_with_its_time(claims: ClaimTable, clocks: Clocks) -> None:
    """Not a moment earlier, and then it is free."""
    take(claims, "x", ANN)
    clocks.pass_seconds(9.999)
    assert take(claims, "x", BOB) == 0
    clocks.pass_seconds(0.001)
    assert held_by(claims, "x") is None
    assert take(claims, "x", BOB) == 2


@pytest.mark.parametrize("by", [HOUR, -HOUR, 24 * 365 * HOUR])
def test_a_wall_clock_that_is_set_changes_nothing(claims: ClaimTable, clocks: Clocks, by: int) -> None:
    """Neither early nor never."""
    take(claims, "x", ANN)
    clocks.set_wall(by)
    assert held_by(claims, "x") == ANN
    clocks.pass_seconds(9)
    assert take(claims, "x", BOB) == 0
    clocks.pass_seconds(1)
    assert take(claims, "x", BOB) == 2


def test_after_a_reboot_the_wall_clock_decides(claims: ClaimTable, clocks: Clocks) -> None:
    """The time since boot says nothing any more."""
    take(claims, "x", ANN)
    clocks.reboot()
    assert held_by(claims, "x") == ANN
    clocks.set_wall(11_000_000)
    assert take(claims, "x", BOB) == 2


def test_a_reboot_shows_without_a_boot_id(claims: ClaimTable, clocks: Clocks) -> None:
    """A clock that is smaller than when the claim was made tells."""
    take(claims, "x", ANN)
    clocks.now = replace(clocks.now, boot_seconds=5.0, wall=clocks.now.wall + 11_000_000)
    assert take(claims, "x", BOB) == 2


def test_only_the_holder_renews_and_releases(claims: ClaimTable, clocks: Clocks) -> None:
    """By worker and by token; a claim that ended cannot be renewed."""
    token = take(claims, "x", ANN)
    assert claims.renew("x", BOB, token, 10) is None
    assert claims.renew("x", ANN, token + 1, 10) is None
    assert not claims.release("x", BOB, token)
    assert not claims.release("x", ANN, token - 1)
    renewed = claims.renew("x", ANN, token, 20)
    assert renewed is not None
    assert (renewed.token, renewed.created_at < renewed.expires_at) == (token, True)
    clocks.pass_seconds(20)
    assert claims.renew("x", ANN, token, 10) is None
    assert not claims.release("x", ANN, token)


def test_a_renewed_claim_lasts_from_the_renewal(claims: ClaimTable, clocks: Clocks) -> None:
    """Shorter too, if that was asked for."""
    token = take(claims, "x", ANN)
    clocks.pass_seconds(5)
    claims.renew("x", ANN, token, 2)
    clocks.pass_seconds(2)
    assert held_by(claims, "x") is None


def test_tokens_grow_whatever_happens_in_between(tmp_path: Path, clocks: Clocks) -> None:
    """Release, expiry, cleaning up, and opening the file anew."""
    tokens = []
    for step in range(6):
        connection = Connection(tmp_path / "state.db", sync_every_commit=False)
        claims = ClaimTable(connection, clocks)
        tokens.append(take(claims, "x", ANN))
        if step % 2:
            claims.release("x", ANN, tokens[-1])
        clocks.pass_seconds(11)
        claims.delete_expired()
        connection.close()
    assert tokens == [1, 2, 3, 4, 5, 6]


def test_a_claim_can_get_a_later_token(claims: ClaimTable) -> None:
    """It is held under that one alone, and tokens go on behind it."""
    claim = claims.create("x", ANN, None, 10)
    assert claim is not None
    later = claims.renumber(claim, 100)
    assert later.token == claims.get("x").token == 100
    assert not claims.release("x", ANN, claim.token)
    assert claims.release("x", ANN, 100)
    again = claims.create("x", ANN, None, 10)
    assert again is not None
    assert again.token == 101


def test_expired_claims_are_cleaned_up(claims: ClaimTable, clocks: Clocks) -> None:
    """The others stay."""
    take(claims, "short", ANN, 1)
    take(claims, "long", ANN, 100)
    clocks.pass_seconds(2)
    assert claims.count() == 1
    assert claims.delete_expired() == 1
    assert claims.delete_expired() == 0
    assert held_by(claims, "long") == ANN


def test_clearing_forgets_claims_but_not_the_token(claims: ClaimTable) -> None:
    """The next token is greater."""
    take(claims, "x", ANN)
    claims.clear()
    assert claims.count() == 0
    assert take(claims, "x", BOB) == 2


def test_lists_hold_what_is_held_now(claims: ClaimTable, clocks: Clocks) -> None:
    """By worker, by time, page by page, while claims come and go."""
    for number in range(20):
        take(claims, f"{number:02}", ANN if number % 2 else BOB, 10 + number)
        clocks.pass_seconds(0.1)
    clocks.pass_seconds(8)  # the first ones are over
    everything = claims.search(limit=100).items
    assert [claim.id for claim in everything] == sorted(claim.id for claim in everything)
    assert claims.count() == len(everything) < 20
    of_ann = claims.search(worker_id__eq=ANN).items
    assert [each for each in everything if each.worker_id == ANN] == of_ann
    assert claims.count(worker_id__eq=ANN) == len(of_ann)
    middle = everything[5].created_at
    assert claims.search(created_at__gte=middle).items == everything[5:]
    assert claims.search(created_at__lte=middle).items == everything[:6]
    walked, page_id = [], None
    while True:
        page = claims.search(page_id, limit=3)
        walked += page.items
        claims.release(page.items[0].id, page.items[0].worker_id, page.items[0].token)
        if (page_id := page.next_page_id) is None:
            break
    assert walked == everything


@pytest.mark.parametrize("data", [None, 1, "x", [1, {"a": None}], {"k": [True]}])
def test_data_come_back(claims: ClaimTable, data: Any) -> None:
    """As plain JSON values."""
    take(claims, "x", ANN, data=data)
    assert claims.get("x").data == data


@pytest.mark.parametrize("data", [object(), float("nan"), {1: 2}, b"\xff", (1, 2), "x" * 70_000, [[[]]] * 40_000])
def test_bad_data_are_refused(claims: ClaimTable, data: Any) -> None:
    """And the claim is not taken."""
    with pytest.raises(InvalidArgumentError, match="claim data"):
        take(claims, "x", ANN, data=data)
    with pytest.raises(ClaimNotFoundError):
        claims.get("x")


@pytest.mark.skipif(read_clocks().boot_id == "unknown", reason="this system has no boot id")
def test_the_real_clocks_go_forward() -> None:
    """All three parts are there, and time passes."""
    first, second = read_clocks(), read_clocks()
    assert first.boot_id == second.boot_id
    assert first.boot_seconds <= second.boot_seconds
    assert abs(first.wall - second.wall) < HOUR
