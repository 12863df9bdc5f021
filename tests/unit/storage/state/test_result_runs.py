"""Runs of results: what they are made of, where they end, and what is found in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from eventy_sync import EventResult
from eventy_sync.identifiers import floor_id
from eventy_sync.storage.state import StateStore, insert_results, make_runs
from eventy_sync.storage.state.filters import EPOCH
from eventy_sync.storage.state.result_runs import MAX_RUN, MAX_SPAN_SECONDS, ResultRun

ANN, SUBSCRIPTION = UUID(int=1), UUID(int=9)
AT_US = 1_800_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "state.db", tells_others=True)
    yield store
    store.close()


def results_of(runs: list[ResultRun]) -> list[EventResult]:
    return [run.result(position) for run in runs for position in range(run.count)]


def test_a_run_has_all_that_its_results_have() -> None:
    """Each with an id, a time and a duration of its own, also where a later event ended earlier."""
    (run,) = make_runs(
        7,
        [AT_US + 5, AT_US, AT_US + 3_000_000],
        [1, 2_500_000, 0],
        worker_id=ANN,
        group="billing",
        subscription_id=SUBSCRIPTION,
        attempt=2,
        token=4,
        stale=True,
    )
    assert (run.count, run.created_at_us, run.last_us()) == (3, AT_US, AT_US + 3_000_000)
    assert floor_id(run.last_us() // 1000) <= run.base_id < floor_id(run.last_us() // 1000 + 1)
    assert results_of([run]) == [
        EventResult(
            id=UUID(int=run.base_id.int + position),
            event_id=7 + position,
            worker_id=ANN,
            success=True,
            details=None,
            created_at=EPOCH + timedelta(microseconds=ended_us),
            subscription_id=SUBSCRIPTION,
            group="billing",
            attempt=2,
            token=4,
            duration_seconds=duration_seconds,
            stale=True,
        )
        for position, (ended_us, duration_seconds) in enumerate(
            [(AT_US + 5, 0.000001), (AT_US, 2.5), (AT_US + 3_000_000, 0.0)]
        )
    ]


def test_a_duration_that_is_too_long_or_negative_is_the_nearest_that_can_be_kept() -> None:
    """About 71 minutes, and none; the ones beside it are as they were."""
    (run,) = make_runs(1, [AT_US] * 3, [2**32, -1, 5], worker_id=ANN)
    assert [each.duration_seconds for each in results_of([run])] == [(2**32 - 1) / 1_000_000, 0.0, 0.000005]


@pytest.mark.parametrize(
    ("count", "step_us"),
    [(MAX_RUN + 1, 1), (5 * MAX_RUN, 1), (20, MAX_SPAN_SECONDS * 1_000_000), (20, MAX_SPAN_SECONDS * 100_000)],
)
def test_what_is_too_much_for_one_run_makes_several(store: StateStore, count: int, step_us: int) -> None:
    """By number or by time; every result is there, in its order, and none of the runs is beyond the bounds."""
    ends = [AT_US + number * step_us for number in range(count)]
    runs = make_runs(1, ends, list(range(count)), worker_id=ANN, token=3)
    assert len(runs) > 1
    for run in runs:
        run.check()
    found = results_of(runs)
    assert [each.event_id for each in found] == list(range(1, count + 1))
    assert [each.created_at for each in found] == [EPOCH + timedelta(microseconds=end) for end in ends]
    assert [each.token for each in found] == [3] * count
    store.results.add([], runs)
    assert store.results.search(limit=10_000).items == sorted(found, key=lambda each: each.id)


@pytest.mark.parametrize("count", [1, MAX_RUN])
def test_a_result_is_found_wherever_it_is_in_its_run(store: StateStore, count: int) -> None:
    """By event and by id, the first and the last; those beside the run are not."""
    (run,) = make_runs(1000, [AT_US] * count, [1] * count, worker_id=ANN)
    store.results.add([], [run])
    for position in {0, count - 1}:
        expected = run.result(position)
        assert store.results.search(event_id__eq=1000 + position).items == [expected]
        assert store.results.count(event_id__eq=1000 + position) == 1
        assert store.results.get(expected.id) == expected
    for event_id in (999, 1000 + count):
        assert store.results.search(event_id__eq=event_id).items == []
        assert store.results.count(event_id__eq=event_id) == 0
    for beside in (-1, count):
        assert store.results.batch_get([UUID(int=run.base_id.int + beside)]) == [None]


def test_results_are_kept_in_the_transaction_of_whoever_keeps_them(store: StateStore) -> None:
    """With all that belongs to it, or not at all: rows, runs, the count, and what others are told."""
    single = EventResult(UUID(int=5), 9, ANN, False, "ValueError", EPOCH)
    runs = make_runs(1, [AT_US] * 8, [1] * 8, worker_id=ANN)

    def keep_and_fail() -> None:
        with store._connection.transaction() as database:
            insert_results(database, store.outbox, [single], runs)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        keep_and_fail()
    assert (store.results.count(), store.results.search().items, store.outbox.first(9)) == (0, [], [])
    with store._connection.transaction() as database:
        insert_results(database, store.outbox, [single], runs)
        insert_results(database, None, [single], runs)
    assert store.results.count() == len(store.results.search().items) == 9
    assert [each.kind for each in store.outbox.first(9)] == ["results", "runs"]


def test_a_run_goes_when_all_its_events_are_gone(store: StateStore) -> None:
    """Not before; in portions, where there are many, and the count follows."""
    for number in range(1100):
        store.results.add([], make_runs(1 + 2 * number, [AT_US] * 2, [1] * 2, worker_id=ANN))
    assert store.results.delete_before(2) == 0
    assert store.results.delete_before(3) == 2
    assert store.results.delete_before(2200) == 2196
    assert store.results.count() == 2
    assert [each.event_id for each in store.results.search().items] == [2199, 2200]


def test_clearing_forgets_runs(store: StateStore) -> None:
    """Count and all."""
    store.results.add([], make_runs(1, [AT_US] * 2, [1] * 2, worker_id=ANN))
    store.clear(next_id=1)
    assert (store.results.count(), store.results.search().items) == (0, [])


@pytest.mark.parametrize("is_applied", [False, True])
def test_whoever_waits_is_woken_when_results_are_stored(store: StateStore, is_applied: bool) -> None:
    """After they are there, be they this process's own or another root's."""
    seen: list[int] = []
    store.results.stored.ring = lambda: seen.append(store.results.count())  # type: ignore[method-assign]
    runs = make_runs(1, [AT_US] * 2, [1] * 2, worker_id=ANN)
    if is_applied:
        other = StateStore(store._connection.path.with_name("other.db"))
        other.results.add([], runs)
        store.apply(other.changes_since(0), {})
        other.close()
    else:
        store.results.add([], runs)
    assert seen == [2]
