"""How long handlers took is summed up from the results, each once, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventy_sync.identifiers import new_id
from eventy_sync.models import EventResult
from eventy_sync.storage.state import HandlingTime, StateStore, make_runs
from eventy_sync.storage.state import handling_times as module
from eventy_sync.storage.state.handling_times import BOUNDS_SECONDS, SETTLE_SECONDS, HandlingTimes

ANN = UUID(int=1)
AT = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Clock:
    """A wall clock that tests set."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "state.db")
    yield store
    store.close()


def times_of(store: StateStore, clock: Clock) -> HandlingTimes:
    """Return the times as another process would read them."""
    return HandlingTimes(store.results._connection, clock)


def keep(store: StateStore, at: datetime, *durations: float, group: str | None = None, success: bool = True) -> None:
    """Store a row for each."""
    store.results.add_many(
        [
            EventResult(new_id(at), 1, ANN, success, None, at, group=group, duration_seconds=duration)
            for duration in durations
        ]
    )


def keep_run(store: StateStore, *durations_us: int, group: str = "billing", first: int = 1) -> None:
    """Store one run."""
    end = int(AT.timestamp()) * 1_000_000
    store.results.add([], make_runs(first, [end] * len(durations_us), durations_us, worker_id=ANN, group=group))


def upto(times: HandlingTime, seconds: float) -> int:
    return times.counts[BOUNDS_SECONDS.index(seconds)]


def test_nothing_is_summed_up_before_somebody_asks(store: StateStore, clock: Clock) -> None:
    """What was there when it was first asked for is left out."""
    keep_run(store, 10, 20)
    keep(store, AT - timedelta(seconds=SETTLE_SECONDS + 1), 1.0)
    assert times_of(store, clock).read() == {}
    clock.now += timedelta(seconds=100)
    assert times_of(store, clock).read() == {}


def test_durations_are_counted_by_group_and_bound(store: StateStore, clock: Clock) -> None:
    """A duration that is a bound belongs to it; a handler that is in no group has the empty name."""
    times = times_of(store, clock)
    times.read()
    keep_run(store, 100, 101, 2_000_000)
    keep(store, AT, 0.5, 400.0)
    clock.now += timedelta(seconds=SETTLE_SECONDS + 1)
    found = times.read()
    assert sorted(found) == ["", "billing"]
    assert (upto(found["billing"], 0.0001), upto(found["billing"], 0.001), upto(found["billing"], 2.5)) == (1, 2, 3)
    assert (found["billing"].count, found["billing"].sum_seconds) == (3, pytest.approx(2.000201))
    assert (upto(found[""], 0.25), upto(found[""], 0.5), upto(found[""], 300.0), found[""].count) == (0, 1, 1, 2)


def test_each_result_is_counted_once_however_many_ask(store: StateStore, clock: Clock) -> None:
    """Several processes that read in turn, and at once, get the same numbers, which only grow."""
    readers = [times_of(store, clock) for _ in range(4)]
    readers[0].read()
    for number in range(20):
        keep_run(store, 10, 10, 10, first=3 * number + 1)
        keep(store, clock.now, 0.1, 0.2, success=False)
        clock.now += timedelta(seconds=SETTLE_SECONDS + 1)
        threads = [threading.Thread(target=each.read) for each in readers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for reader in readers:
            found = reader.read()
            assert (found["billing"].count, found[""].count) == (3 * (number + 1), 2 * (number + 1))


def test_who_was_overtaken_while_reading_takes_what_the_other_has(
    store: StateStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow reader neither puts older sums back nor tells them."""
    slow, fast = times_of(store, clock), times_of(store, clock)
    slow.read()
    keep_run(store, 10)
    go_on = slow._go_on

    def overtaken(kept: Any) -> bool:
        found = go_on(kept)
        keep_run(store, 10, first=2)
        assert fast.read()["billing"].count == 2
        return found

    monkeypatch.setattr(slow, "_go_on", overtaken)
    assert slow.read()["billing"].count == 2


def test_a_row_is_counted_when_no_earlier_one_can_come_any_more(store: StateStore, clock: Clock) -> None:
    """A row that is stored behind a later one is counted, too."""
    times = times_of(store, clock)
    times.read()
    keep(store, AT + timedelta(seconds=2), 0.2)
    clock.now = AT + timedelta(seconds=5)
    assert times.read() == {}
    keep(store, AT + timedelta(seconds=1), 0.1)
    clock.now = AT + timedelta(seconds=SETTLE_SECONDS + 3)
    assert times.read()[""].count == 2


def test_a_long_history_is_read_in_portions(store: StateStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks waits for a bounded time; who asks next goes on, and nothing is left out."""
    times = times_of(store, clock)
    times.read()
    monkeypatch.setattr(module, "READ_SECONDS", -1.0)
    monkeypatch.setattr(module, "_RUNS_AT_ONCE", 2)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 2)
    for number in range(5):
        keep_run(store, 10, first=number + 1)
    keep(store, AT, 0.1, 0.2, 0.3)
    keep(store, AT, 0.1, 0.2, group="billing")
    clock.now += timedelta(seconds=SETTLE_SECONDS + 1)
    counts = [sum(each.count for each in times.read().values()) for _ in range(7)]
    assert counts == [2, 4, 5, 7, 9, 10, 10]


def test_after_a_reset_the_sums_go_on(store: StateStore, clock: Clock) -> None:
    """Results that follow a reset are counted, and what was counted before stays."""
    times = times_of(store, clock)
    times.read()
    for number in range(3):
        keep_run(store, 10, first=number + 1)
    assert times.read()["billing"].count == 3
    store.clear(4)
    keep_run(store, 10, first=4)
    assert times.read()["billing"].count == 4


@pytest.mark.parametrize("value", [b"", b"nonsense", b'{"bounds": [1.0], "run": 0, "row": "", "groups": {}}'])
def test_sums_that_do_not_fit_begin_anew(store: StateStore, clock: Clock, value: bytes) -> None:
    """Those of another version, or damaged ones, are no reason to fail."""
    times = times_of(store, clock)
    store.remembered.put("handling_times", value)
    assert times.read() == {}
    keep_run(store, 10)
    assert times.read()["billing"].count == 1


def test_nothing_is_written_when_nothing_came(store: StateStore, clock: Clock) -> None:
    """A quiet queue that is asked again and again is left alone."""
    times = times_of(store, clock)
    times.read()
    keep_run(store, 10)
    times.read()
    with store.results._connection._locked() as database:
        before = database.total_changes
        clock.now += timedelta(seconds=60)
        times.read()
        assert database.total_changes == before


def test_totals_only_grow(store: StateStore) -> None:
    """What retention and a reset forget stays counted, and what is stored twice is counted once."""
    keep_run(store, 10, 10, 10)
    keep(store, AT, 0.1, 0.2, success=False)
    assert store.results.totals() == (3, 2)
    again = EventResult(UUID(int=9), 1, ANN, False, None, AT)
    store.results.add_many([again, again])
    store.results.add_many([again])
    assert store.results.totals() == (3, 3)
    store.results.delete_before(1000)
    assert (store.results.count(), store.results.totals()) == (0, (3, 3))
    keep(store, AT, 0.1)
    store.clear(5)
    assert (store.results.count(), store.results.totals()) == (0, (4, 3))
