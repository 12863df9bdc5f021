"""What a root tells the server of its claims when it joins, and what it settles afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from uuid import UUID

import pytest

from eventy_sync.models import Claim
from eventy_sync.redis.claim_scripts import ClaimScripts
from eventy_sync.redis.claim_search import ClaimSearch
from eventy_sync.redis.claims import RedisClaims
from eventy_sync.redis.mode import CONNECTED, Mode
from eventy_sync.redis.roots import Roots
from eventy_sync.redis.sessions import Sessions
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.storage.state import Held, StateStore
from tests.unit.redis.conftest import Fake

ROOT, ANN, QUEUE = UUID(int=1), UUID(int=2), UUID(int=3)


class Delayed(ClaimScripts):
    """What a root asks, with something that happens before claims that are put back reach the server."""

    on_the_way: Callable[[], object] = staticmethod(lambda: None)

    def restore(self, held: Sequence[Held], *, are_from_elsewhere: bool = False) -> list[Claim]:
        self.on_the_way()
        return super().restore(held, are_from_elsewhere=are_from_elsewhere)


def nothing() -> None:
    """Join, forget or degrade: not needed where the server answers."""


def a_process(fake: Fake, store: StateStore, scripts: ClaimScripts) -> RedisClaims:
    """Return the claims as one process of the root has them, connected."""
    mode, pause = Mode("orders"), threading.Event().wait
    mode.change(CONNECTED)
    search, roots = ClaimSearch(fake.keys, fake.link), Roots(ROOT, store)
    return RedisClaims(
        store.claims,
        scripts,
        search,
        mode,
        roots,
        rejoin=nothing,
        forget_gone=nothing,
        degrade=lambda exc: nothing(),
        pause=pause,
    )


@pytest.fixture
def scripts(fake: Fake) -> Delayed:
    """What the root asks."""
    fake.begin_epoch("e1")
    return Delayed(fake.keys, fake.link, Sessions(), ROOT, lambda: b"e1", lambda: QUEUE)


@pytest.mark.parametrize("is_freed", [True, False])
def test_a_claim_that_is_freed_while_it_is_put_back_is_free_afterwards(
    fake: Fake, store: StateStore, scripts: Delayed, is_freed: bool
) -> None:
    """By another process of the root: it would stand in everybody's way until its time is over.  Others stay held."""
    joining, neighbour = (a_process(fake, store, scripts) for _ in range(2))
    claim = neighbour.create("x", ANN, None, 60.0)
    assert claim is not None
    assert neighbour.create("y", ANN, None, 60.0) is not None
    if is_freed:
        scripts.on_the_way = lambda: neighbour.release("x", ANN, claim.token)
    joining.write_back()
    joining.settle()
    assert [each is not None for each in joining.batch_get(["x", "y"])] == [not is_freed, True]
    assert fake.client.zscore(fake.keys.claims, "y") is not None
    assert (fake.client.zscore(fake.keys.claims, "x") is None) is is_freed


def test_a_claim_that_was_put_back_without_a_reply_is_settled(fake: Fake, store: StateStore, scripts: Delayed) -> None:
    """It may be put back or not, and be freed by another process before this one has joined anew; none arrives late."""
    joining, neighbour = (a_process(fake, store, scripts) for _ in range(2))
    claim = neighbour.create("x", ANN, None, 60.0)
    assert claim is not None
    assert neighbour.release("x", ANN, claim.token)
    scripts.restore([Held(claim, 60.0)])
    assert fake.client.exists(fake.keys.claim("x"))
    store.claims.create("x", ANN, None, 60.0)
    session = scripts._session.decode()

    def lose_reply() -> None:
        raise RedisUnavailableError("no reply", may_have_run=True)

    scripts.on_the_way = lose_reply
    with pytest.raises(RedisUnavailableError, match="no reply"):
        joining.write_back()
    assert session in scripts._sessions.void()
    held = store.claims.get("x")
    store.claims.release("x", ANN, held.token)
    joining.settle()
    assert not fake.client.exists(fake.keys.claim("x"))
