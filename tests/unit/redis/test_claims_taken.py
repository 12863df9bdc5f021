"""Taking a claim on both sides, with something that happens while the request is on its way or its reply is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from eventy_sync.models import Claim
from eventy_sync.redis.claim_scripts import ClaimScripts
from eventy_sync.redis.claim_search import ClaimSearch
from eventy_sync.redis.claims import RedisClaims
from eventy_sync.redis.link import Link, Script
from eventy_sync.redis.mode import CONNECTED, Mode
from eventy_sync.redis.roots import Roots
from eventy_sync.redis.sessions import Sessions
from eventy_sync.storage.state import StateStore
from tests.unit.redis.conftest import Fake

ROOT, ANN, BEN, CAT, QUEUE = (UUID(int=number) for number in range(1, 6))


def nothing() -> None:
    """Forget or degrade: not needed where the server answers."""


class Interrupted(ClaimScripts):
    """What one process asks, and what happens, once each: with a request on its way, its reply here, or before freeing.

    The first epochs are those in which it believes to be when it asks.
    """

    def __init__(self, fake: Fake) -> None:
        self.epochs = [b"e1"]
        self.on_the_way: list[Callable[[], object]] = []
        self.at_reply: list[Callable[[], object]] = []
        self.before_free: list[Callable[[], object]] = []
        self.link = Link(fake.pool.make)
        super().__init__(fake.keys, self.link, Sessions(), ROOT, self._present, lambda: QUEUE)

    def _present(self) -> bytes:
        return self.epochs.pop(0) if len(self.epochs) > 1 else self.epochs[0]

    def take(self, *args: Any) -> int:  # type: ignore[override]
        *wanted, meanwhile = args

        def first(*args: Any) -> object:
            happen(self.on_the_way)
            return meanwhile(*args)

        token = super().take(*wanted, first)
        happen(self.at_reply)
        return token

    def free(self, claim_id: str, worker_id: UUID, token: int) -> int:
        happen(self.before_free)
        return super().free(claim_id, worker_id, token)


def happen(things: list[Callable[[], object]]) -> None:
    """Let what is due happen."""
    while things:
        things.pop(0)()


class Process:
    """The claims as one process of a root has them, connected."""

    def __init__(self, fake: Fake, store: StateStore) -> None:
        self.scripts = Interrupted(fake)
        mode = Mode("orders")
        mode.change(CONNECTED)
        self.claims = RedisClaims(
            store.claims,
            self.scripts,
            ClaimSearch(fake.keys, fake.link),
            mode,
            Roots(ROOT, store),
            rejoin=nothing,
            forget_gone=nothing,
            degrade=lambda exc: nothing(),
            pause=threading.Event().wait,
        )

    def take(self, worker_id: UUID, claim_id: str = "x", ttl_seconds: float = 60.0) -> Claim | None:
        return self.claims.create(claim_id, worker_id, None, ttl_seconds)


class Frozen:
    """A process that takes a claim and is frozen when the reply is here, until it is thawed."""

    def __init__(self, process: Process, worker_id: UUID) -> None:
        self._process, self._worker_id = process, worker_id
        self._is_asleep, self._may_go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._take)
        self.answers: list[Claim | None] = []
        process.scripts.at_reply.append(self._freeze)

    def _take(self) -> None:
        self.answers.append(self._process.take(self._worker_id))

    def _freeze(self) -> None:
        self._is_asleep.set()
        self._may_go_on.wait(20)

    def start(self) -> None:
        """Let it take the claim, and return when it is frozen."""
        self._thread.start()
        assert self._is_asleep.wait(20)

    def thaw(self) -> list[Claim | None]:
        """Let it go on; return its answer, if it was started."""
        self._may_go_on.set()
        if self._thread.ident is not None:
            self._thread.join(20)
        return self.answers


@pytest.fixture
def processes(fake: Fake, store: StateStore) -> Iterator[tuple[Process, Process]]:
    """Two of one root."""
    fake.begin_epoch("e1", queue_id=str(QUEUE))
    fake.client.script_load(Script("claim").text)  # or what happens on the way comes before the request
    made = Process(fake, store), Process(fake, store)
    yield made
    for process in made:
        process.scripts.link.close()


def take_elsewhere(fake: Fake, worker_id: UUID, claim_id: str = "x") -> int:
    """Let a worker of another root take it, and return the token."""
    scripts = ClaimScripts(fake.keys, fake.link, Sessions(), UUID(int=99), lambda: b"e1", lambda: QUEUE)
    return scripts.take(claim_id, worker_id, "null", 60.0, 0, lambda *_: None)


def in_redis(process: Process) -> tuple[UUID, int]:
    """Return who has the claim there, and under which token."""
    there = process.claims.get("x")
    return there.worker_id, there.token


@pytest.mark.parametrize("asked_in", ["e1", "e0"])
def test_what_redis_has_not_granted_takes_nothing_from_another_root(
    fake: Fake, store: StateStore, processes: tuple[Process, Process], asked_in: str
) -> None:
    """A process joins, and tells what its root holds, while another asks for a claim that somebody has elsewhere."""
    asking, joining = processes
    token = take_elsewhere(fake, CAT)
    store.claims.create("y", BEN, None, 60.0)
    store.claims.create("z", BEN, None, 60.0)  # tokens here are larger than there

    def join() -> None:
        joining.claims.write_back()
        joining.claims.settle()

    asking.scripts.epochs = [asked_in.encode(), b"e1"]
    asking.scripts.at_reply.append(join)
    assert asking.take(ANN) is None
    asking.claims.settle()
    assert in_redis(asking) == (CAT, token)


def test_what_redis_has_granted_is_put_back_by_other_processes_when_the_server_has_lost_it(
    fake: Fake, processes: tuple[Process, Process]
) -> None:
    """Whether it was renewed, or another one granted since, or not."""
    taking, joining = processes
    for claim_id in "abc":
        assert taking.take(ANN, claim_id) is not None
    fake.client.flushall()
    joining.claims.write_back()
    assert [claim and claim.worker_id for claim in joining.claims.batch_get(list("abc"))] == [ANN] * 3


def test_what_redis_has_granted_is_certain_with_the_next_one(
    store: StateStore, processes: tuple[Process, Process]
) -> None:
    """In the same transaction; or when it is renewed, or put back."""
    taking, _ = processes

    def uncertain() -> list[str]:
        return [held.claim.id for held in store.claims.held() if held.asked_in]

    first = taking.take(ANN, "a")
    assert first is not None
    assert uncertain() == ["a"]
    assert taking.take(ANN, "b") is not None
    assert uncertain() == ["b"]
    last = taking.take(ANN, "c")
    assert last is not None
    assert taking.claims.renew("c", ANN, last.token, 60.0) is not None
    assert uncertain() == []
    assert taking.take(ANN, "d") is not None
    taking.claims.write_back()
    assert uncertain() == []


def test_a_claim_has_a_winner_whatever_tokens_losers_have_spent(fake: Fake, processes: tuple[Process, Process]) -> None:
    """Those of this root are larger than the server's then; a neighbour that comes between is refused by both sides."""
    winner, neighbour = processes
    assert take_elsewhere(fake, CAT, "y") == 1
    assert [neighbour.take(BEN, "y") for _ in range(3)] == [None] * 3
    frozen = Frozen(neighbour, BEN)
    winner.scripts.before_free.append(frozen.start)
    claim = winner.take(ANN)
    others = frozen.thaw()
    assert claim is not None
    assert [each for each in others if each] == []
    assert in_redis(winner) == (ANN, claim.token)


def test_a_neighbour_that_is_frozen_while_it_is_refused_keeps_nobody_from_a_claim(
    store: StateStore, processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was granted the claim here alone: whom Redis has granted it has it after a while, until it ends there."""
    monkeypatch.setattr("eventy_sync.redis.claims._INSIST_SECONDS", 0.05)
    winner, neighbour = processes
    frozen = Frozen(neighbour, BEN)
    winner.scripts.on_the_way.append(frozen.start)
    claim = winner.take(ANN, ttl_seconds=30.0)
    assert claim is not None
    assert frozen.thaw() == [None]
    assert store.claims.get("x") == claim
    assert in_redis(winner) == (ANN, claim.token)
    assert claim.expires_at <= winner.claims.get("x").expires_at + timedelta(milliseconds=2)


def test_a_claim_that_was_granted_without_redis_is_not_followed_by_a_smaller_token(
    store: StateStore, processes: tuple[Process, Process]
) -> None:
    """Another process of the root is without it, and has the claim for a moment, while this one asks."""
    asking, _ = processes
    alone: list[Claim] = []

    def take_alone() -> None:
        for _ in range(5):
            claim = store.claims.create("x", BEN, None, 60.0)
            assert claim is not None
            store.claims.confirm([claim], is_alone=True)
            store.claims.release("x", BEN, claim.token)
            alone.append(claim)

    asking.scripts.on_the_way.append(take_alone)
    claim = asking.take(ANN)
    assert claim is not None
    assert claim.token > alone[-1].token
    assert store.claims.get("x") == claim
    assert in_redis(asking) == (ANN, claim.token)
