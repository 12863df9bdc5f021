"""Results and subscriptions from root to root: telling, applying, and noticing what was missed; tell.lua."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from eventy_sync.models import EventResult
from eventy_sync.redis import changes as module
from eventy_sync.redis.changes import MARGIN_SECONDS, Changes
from eventy_sync.redis.messages import AddResult, CreateSubscriber, RemoveSubscriber
from eventy_sync.storage.state import RESULTS, StateStore, StoredSubscription, make_runs
from eventy_sync.storage.state.filters import EPOCH
from tests.unit.redis.conftest import Fake

ANN, BEN = UUID(int=1), UUID(int=2)
MARGIN = int(MARGIN_SECONDS * 1_000_000)


class Root:
    """A root's state, and its changes on their way."""

    def __init__(self, fake: Fake, path: Path, root_id: UUID) -> None:
        self.root_id, self.store = root_id, StateStore(path, tells_others=True)
        self.changes = Changes(fake.keys, fake.link, self.store, root_id, root_id)
        self._count = 0

    def subscribe(self) -> UUID:
        self._count += 1
        key = UUID(int=self.root_id.int * 1_000_000 + self._count)
        self.store.subscriptions.add(StoredSubscription(key, "a.B", b"{}", 1, False, EPOCH, self.root_id))
        return key

    def finish(self) -> None:
        """Keep a result."""
        self._count += 1
        key = UUID(int=self.root_id.int * 1_000_000 + self._count)
        self.store.results.add_many([EventResult(key, 1, self.root_id, True, None, EPOCH)])

    def finish_many(self, first_event_id: int, count: int) -> None:
        """Keep a run of results."""
        at = time.time_ns() // 1000
        self.store.results.add([], make_runs(first_event_id, [at] * count, [1] * count, worker_id=self.root_id))

    def position(self) -> int:
        return int(self.store.remembered.get("changes") or b"0")

    def subscriptions(self) -> set[UUID]:
        return {each.id for each in self.store.subscriptions.all()}

    def exchange(self) -> None:
        self.changes.tell()
        self.changes.apply()


@pytest.fixture
def make(fake: Fake, tmp_path: Path) -> Iterator[Callable[[UUID], Root]]:
    """Make roots of one queue."""
    made: list[Root] = []

    def make_root(root_id: UUID) -> Root:
        made.append(Root(fake, tmp_path / f"{root_id}.db", root_id))
        return made[-1]

    yield make_root
    for each in made:
        each.store.close()


@pytest.fixture
def ann(make: Callable[[UUID], Root]) -> Root:
    return make(ANN)


@pytest.fixture
def ben(make: Callable[[UUID], Root]) -> Root:
    return make(BEN)


def numbers(fake: Fake) -> list[int]:
    """Return the numbers in the stream."""
    return [int(name.partition(b"-")[0]) for name, _ in fake.client.xrange(fake.keys.changes)]


def test_changes_are_told_in_order_and_once(fake: Fake, ann: Root) -> None:
    """Under numbers that run on, with one message for each kind; the outbox is empty then."""
    key = ann.subscribe()
    ann.finish()
    ann.finish()
    ann.store.subscriptions.remove(key)
    ann.changes.tell()
    told = [fields for _, fields in fake.client.xrange(fake.keys.changes)]
    assert [each[b"k"] for each in told] == [b"subscribed", b"results", b"results", b"unsubscribed"]
    assert {each[b"r"] for each in told} == {str(ANN).encode()}
    assert numbers(fake) == [1, 2, 3, 4]
    names = str(ANN), str(ANN)
    assert fake.published() == [CreateSubscriber(*names), AddResult(*names), RemoveSubscriber(*names)]
    ann.changes.tell()
    assert numbers(fake) == [1, 2, 3, 4]
    assert fake.published() == []


def test_many_changes_are_told_in_parts(fake: Fake, ann: Root, ben: Root) -> None:
    """And applied in parts, all of them."""
    for _ in range(250):
        ann.finish()
    ann.changes.tell()
    assert numbers(fake) == list(range(1, 251))
    assert len(fake.published()) == 3
    ben.changes.apply()
    assert ben.store.results.count() == 250
    assert ben.position() == 250
    assert ben.changes.missing_since() is None


@pytest.mark.parametrize(
    ("meta", "newest", "first"),
    [
        (None, None, 1),
        ("41", None, 42),
        (None, 7, 8),
        ("41", 50, 51),
        ("50", 41, 51),
        ("999999999999999", None, 10**15),
    ],
)
def test_numbers_go_on_behind_what_is_there(
    fake: Fake, ann: Root, meta: str | None, newest: int | None, first: int
) -> None:
    """In the stream or beside it, where the stream was evicted; large ones stay whole."""
    if meta is not None:
        fake.client.hset(fake.keys.meta, "changes", meta)
    if newest is not None:
        fake.client.xadd(fake.keys.changes, {"r": "r", "k": "k", "b": "b"}, id=f"{newest}-0")
    ann.finish()
    ann.finish()
    ann.changes.tell()
    assert numbers(fake)[-2:] == [first, first + 1]
    assert fake.meta()[b"changes"] == b"%d" % (first + 1)


def test_the_stream_has_a_bounded_length(fake: Fake, ann: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """About so many of the last changes."""
    monkeypatch.setattr(module, "LENGTH", 10)
    for _ in range(400):
        ann.finish()
    ann.changes.tell()
    assert numbers(fake)[-1] == 400
    assert 10 <= len(numbers(fake)) < 400


def test_what_another_root_tells_is_made_here(ann: Root, ben: Root) -> None:
    """Not one's own, which is there; nothing of it is told on."""
    mine, other = ann.subscribe(), ben.subscribe()
    ann.finish()
    for _ in range(2):
        for each in (ann, ben):
            each.exchange()
    assert ann.subscriptions() == ben.subscriptions() == {mine, other}
    assert ann.store.results.count() == ben.store.results.count() == 1
    assert ann.position() == ben.position() == 3
    ann.store.subscriptions.remove(other)
    ann.exchange()
    ben.exchange()
    assert ben.subscriptions() == {mine}


def test_a_run_of_results_is_one_change(fake: Fake, ann: Root, ben: Root) -> None:
    """With the message that results have; the other root has all that are in it, also from a whole state."""
    ann.finish_many(1, 100)
    ann.exchange()
    assert numbers(fake) == [1]
    assert fake.published() == [AddResult(str(ANN), str(ANN))]
    ben.exchange()
    assert ben.store.results.search() == ann.store.results.search()
    assert ben.store.results.count() == 100
    for kind, body in ann.store.changes_since(0):
        ben.changes.take(kind, body)
    assert ben.store.results.count() == 100


def test_what_is_malformed_is_met_once(fake: Fake, ann: Root, ben: Root, caplog: pytest.LogCaptureFixture) -> None:
    """An entry of any shape is passed over, and those behind it are made."""
    shapes: list[dict[str, Any]] = [
        {"x": "y"},
        {"r": "someone", "k": b"\xff", "b": "?"},
        {"r": "someone", "k": RESULTS, "b": b"\xff\x00"},
        {"r": "someone", "k": RESULTS, "b": msgspec.json.encode([[b"i" * 16, 2**64, *range(10)]])},
        {"r": b"\xff", "k": "subscribed"},
    ]
    for number, shape in enumerate(shapes, 1):
        fake.client.xadd(fake.keys.changes, shape, id=f"{number}-0")
    key = ann.subscribe()
    ann.changes.tell()
    for _ in range(2):
        ben.changes.apply()
        assert ben.subscriptions() == {key}
        assert ben.position() == 6
        assert len(caplog.records) == 3


# -- what was missed -------------------------------------------------------------------------------------------


def test_a_hole_in_the_numbers_is_noticed(fake: Fake, ann: Root, ben: Root) -> None:
    """Since when: since changes were applied last, and a margin for clocks that differ."""
    ann.finish()
    ann.changes.tell()
    before = int(time.time() * 1_000_000)
    ben.changes.apply()
    assert ben.changes.missing_since() is None
    for _ in range(3):
        ann.finish()
    ann.changes.tell()
    fake.client.xdel(fake.keys.changes, "2-0", "3-0")
    ben.changes.apply()
    assert ben.position() == 4
    missing_since = ben.changes.missing_since()
    assert missing_since is not None
    assert before - MARGIN <= missing_since <= int(time.time() * 1_000_000) - MARGIN
    ben.changes.miss_no_more()
    assert ben.changes.missing_since() is None


def test_a_new_root_that_finds_no_beginning_has_missed_all(fake: Fake, ann: Root, ben: Root) -> None:
    """Since 1970, that is; what it has missed is not forgotten by missing less later."""
    for _ in range(3):
        ann.finish()
    ann.changes.tell()
    fake.client.xdel(fake.keys.changes, "1-0")
    ben.changes.apply()
    assert ben.changes.missing_since() == 0
    ann.finish()
    ann.finish()
    ann.changes.tell()
    fake.client.xdel(fake.keys.changes, "4-0")
    ben.changes.apply()
    assert ben.changes.missing_since() == 0


def test_numbers_that_have_begun_anew_are_followed(fake: Fake, ann: Root, ben: Root) -> None:
    """A server that has lost them: nothing is left out that is told from then on."""
    for _ in range(5):
        ann.finish()
    ann.changes.tell()
    ben.changes.apply()
    fake.client.flushall()
    ben.changes.apply()
    ann.finish()
    ann.changes.tell()
    assert numbers(fake) == [1]
    ben.changes.apply()
    assert ben.store.results.count() == 6
    assert ben.position() == 1


@pytest.mark.parametrize("told_before", [False, True])
def test_in_a_new_epoch_all_subscriptions_are_told_again(fake: Fake, ann: Root, told_before: bool) -> None:
    """With their ends; and what others have told last may be lost, unless this is the first epoch of all."""
    kept, ended = ann.subscribe(), ann.subscribe()
    ann.store.subscriptions.remove(ended)
    ann.exchange()
    if told_before:
        ann.changes.begin(b"e1")
        ann.exchange()
        assert ann.changes.missing_since() is None
    fake.client.flushall()
    ann.changes.begin(b"e2")
    assert ann.position() == 0
    assert (ann.changes.missing_since() is not None) is told_before
    assert [each.kind for each in ann.store.outbox.first(10)] == ["subscribed", "unsubscribed"]
    ann.exchange()
    assert ann.subscriptions() == {kept}
    ann.changes.begin(b"e2")
    assert ann.store.outbox.first(10) == []
    assert ann.position() == 2


def test_the_state_of_another_root_is_taken_as_changes_are(ann: Root, ben: Root) -> None:
    """Part by part, without touching the position in the stream."""
    ann.exchange()
    key = ann.subscribe()
    ann.finish()
    for kind, body in ann.store.changes_since(0):
        ben.changes.take(kind, body)
    assert ben.subscriptions() == {key}
    assert ben.position() == 0
