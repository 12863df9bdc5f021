"""Results and subscriptions: what is put in is found again, page by page, by every filter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventy_sync import EventResult, InvalidArgumentError, ResultNotFoundError, SubscriptionNotFoundError
from eventy_sync.identifiers import new_id
from eventy_sync.storage.state import StateStore, StoredSubscription

ANN, BOB = UUID(int=1), UUID(int=2)
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "state.db")
    yield store
    store.close()


def result(number: int) -> EventResult:
    at = START + timedelta(milliseconds=10 * number)
    return EventResult(
        id=new_id(at),
        event_id=number // 3 + 1,
        worker_id=ANN if number % 2 else BOB,
        success=number % 5 != 0,
        details=f"details {number}" if number % 4 else None,
        created_at=at,
        subscription_id=UUID(int=number) if number % 3 else None,
        attempt=number % 3 + 1,
        token=number if number % 7 == 0 else None,
        duration_seconds=number / 1000,
        stale=number % 11 == 0,
    )


@pytest.fixture
def kept(store: StateStore) -> list[EventResult]:
    kept = [result(number) for number in range(100)]
    store.results.add_many(kept[:60])
    store.results.add_many(kept[60:])
    return kept


def test_results_come_back_whole(store: StateStore, kept: list[EventResult]) -> None:
    """Every field, one by one and in batches larger than SQLite's limit on variables."""
    assert store.results.get(kept[7].id) == kept[7]
    asked = [kept[3].id, new_id(), kept[1].id, *[new_id() for _ in range(1200)], kept[3].id]
    found = store.results.batch_get(asked)
    assert (found[:3], found[-1]) == ([kept[3], None, kept[1]], kept[3])
    with pytest.raises(ResultNotFoundError):
        store.results.get(new_id())


FILTERS = list(
    itertools.product(
        [None, 5], [None, ANN], [None, START + timedelta(milliseconds=300)], [None, START + timedelta(milliseconds=600)]
    )
)


@pytest.mark.parametrize(("event_id", "worker_id", "earliest", "latest"), FILTERS)
def test_every_filter_finds_what_a_plain_loop_finds(
    store: StateStore,
    kept: list[EventResult],
    event_id: int | None,
    worker_id: UUID | None,
    earliest: datetime | None,
    latest: datetime | None,
) -> None:
    """In order, over pages, and counted."""
    expected = [
        each
        for each in kept
        if (event_id is None or each.event_id == event_id)
        and (worker_id is None or each.worker_id == worker_id)
        and (earliest is None or each.created_at >= earliest)
        and (latest is None or each.created_at <= latest)
    ]
    walked: list[EventResult] = []
    page_id = None
    while True:
        page = store.results.search(page_id, 7, event_id, worker_id, earliest, latest)
        assert len(page.items) <= 7
        walked += page.items
        if (page_id := page.next_page_id) is None:
            break
    assert walked == expected
    assert store.results.count(event_id, worker_id, earliest, latest) == len(expected)


def test_a_page_goes_on_where_it_was_though_rows_came_and_went(store: StateStore, kept: list[EventResult]) -> None:
    """The key decides, not a count of rows."""
    first = store.results.search(limit=50)
    store.results.delete_before(10)
    later = result(100)
    store.results.add_many([later])
    rest = store.results.search(first.next_page_id, limit=100)
    assert rest.items == [*kept[50:], later]
    assert store.results.count() == 100 - 27 + 1


def test_results_of_dropped_events_go_in_portions(store: StateStore) -> None:
    """More than one transaction's worth, and the count follows."""
    store.results.add_many([result(number) for number in range(2500)])
    assert store.results.delete_before(800) == 2397
    assert store.results.count() == 103 == len(store.results.search(limit=1000).items)


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_id__eq": "1"},
        {"event_id__eq": -1},
        {"event_id__eq": 2**63},
        {"worker_id__eq": "ann"},
        {"created_at__gte": datetime(2026, 1, 1)},
        {"created_at__lte": "today"},
        {"success__eq": 1},
        {"group__eq": b"billing"},
        {"limit": 0},
        {"page_id": "?"},
    ],
)
def test_a_bad_filter_is_refused(store: StateStore, wrong: dict[str, Any]) -> None:
    """Before SQLite sees it."""
    with pytest.raises(InvalidArgumentError):
        store.results.search(**wrong)


def stored(body: bytes = b'{"n": 1}', type_name: str = "module:Class") -> StoredSubscription:
    return StoredSubscription(new_id(), type_name, body, 5, True, START, ANN)


def test_subscriptions_come_back_whole(store: StateStore) -> None:
    """One by one, all, and page by page."""
    kept = [stored(b"%d" % number) for number in range(10)]
    for each in kept:
        store.subscriptions.add(each)
    assert store.subscriptions.get(kept[4].id) == kept[4]
    assert store.subscriptions.all() == kept
    page = store.subscriptions.search(limit=6)
    assert page.items + store.subscriptions.search(page.next_page_id, 6).items == kept
    with pytest.raises(SubscriptionNotFoundError):
        store.subscriptions.get(new_id())


def test_an_equal_subscription_is_kept_once(store: StateStore) -> None:
    """The class and the fields decide; whoever is first stays."""
    first = store.subscriptions.add_unique(stored())
    assert store.subscriptions.add_unique(stored()) == first
    assert store.subscriptions.add_unique(stored(b'{"n": 2}')) != first
    assert store.subscriptions.add_unique(stored(type_name="module:Other")) != first
    assert store.subscriptions.count() == 3


def test_every_change_of_the_subscriptions_shows_in_their_version(store: StateStore) -> None:
    """Adding and removing do, looking and removing what is not there do not."""
    versions = [store.subscriptions.version()]
    kept = stored()
    store.subscriptions.add(kept)
    versions.append(store.subscriptions.version())
    assert store.subscriptions.remove(kept.id)
    versions.append(store.subscriptions.version())
    assert versions == sorted(set(versions))
    assert not store.subscriptions.remove(kept.id)
    store.subscriptions.all()
    assert store.subscriptions.version() == versions[-1]


def test_what_is_remembered_is_there_for_other_processes(store: StateStore, tmp_path: Path) -> None:
    """The newest value, or None."""
    other = StateStore(tmp_path / "state.db")
    other.remembered.put("x", b"0")
    other.remembered.put("x", b"1")
    other.close()
    assert store.remembered.get("x") == b"1"
    assert store.remembered.get("y") is None


def test_an_outbox_keeps_changes_until_they_were_sent(tmp_path: Path) -> None:
    """In order, also through another opening; a root that is alone keeps none."""
    store = StateStore(tmp_path / "state.db", tells_others=True)
    kept = stored()
    store.subscriptions.add(kept)
    store.results.add_many([result(1)])
    store.subscriptions.remove(kept.id)
    store.close()
    store = StateStore(tmp_path / "state.db", tells_others=True)
    changes = store.outbox.first(10)
    assert [each.kind for each in changes] == ["subscribed", "results", "unsubscribed"]
    store.outbox.drop(changes[1].number)
    assert store.outbox.first(10) == changes[2:]
    store.close()
    alone = StateStore(tmp_path / "alone.db")
    alone.results.add_many([result(1)])
    assert alone.outbox.first(10) == []
    alone.close()


def test_changes_of_another_root_are_made_here_once(store: StateStore, tmp_path: Path) -> None:
    """However often they arrive; what cannot be read is passed over, and the position is kept."""
    other = StateStore(tmp_path / "other.db", tells_others=True)
    kept = [stored(b"1"), stored(b"2")]
    for each in kept:
        other.subscriptions.add(each)
    other.results.add_many([result(1), result(2)])
    other.subscriptions.remove(kept[0].id)
    changes = [(each.kind, each.body) for each in other.outbox.first(10)]
    other.close()
    bad = [("results", b"{"), ("results", b'[["x"]]'), ("subscribed", b"[]"), ("unknown", b""), ("unsubscribed", b"7")]
    for _ in range(2):
        store.apply([*bad, *changes], {"position": b"5-0"})
    assert [each.event_id for each in store.results.search().items] == [1, 1]
    assert store.results.count() == 2
    assert store.subscriptions.all() == [kept[1]]
    assert store.remembered.get("position") == b"5-0"


def test_clearing_forgets_results_and_subscriptions(store: StateStore, kept: list[EventResult]) -> None:
    """Counts are nought, and the change shows."""
    store.subscriptions.add(stored())
    version = store.subscriptions.version()
    store.clear(next_id=1)
    assert (store.results.count(), store.subscriptions.count()) == (0, 0)
    assert store.results.search().items == []
    assert store.subscriptions.version() > version
