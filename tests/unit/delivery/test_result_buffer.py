"""Results wait for the store a moment, and longer while it refuses, but not for ever."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from uuid import UUID

import pytest

from eventy_sync import EventResult, StorageError
from eventy_sync.delivery import result_buffer
from eventy_sync.delivery.result_buffer import ResultBuffer

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Store:
    """Keeps results, or refuses."""

    def __init__(self) -> None:
        self.transactions: list[list[int]] = []
        self.refusing = False

    def add_many(self, results: Sequence[EventResult]) -> None:
        if self.refusing:
            raise StorageError("the disk is full")
        self.transactions.append([each.event_id for each in results])


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def buffer(store: Store, monkeypatch: pytest.MonkeyPatch) -> ResultBuffer:
    monkeypatch.setattr(result_buffer, "MAX_AGE_SECONDS", 3600.0)
    return ResultBuffer(store.add_many)


def result(number: int, duration_seconds: float = 0.0) -> EventResult:
    return EventResult(UUID(int=number), number, UUID(int=1), True, None, NOW, duration_seconds=duration_seconds)


def test_fast_results_go_by_the_hundred(buffer: ResultBuffer, store: Store) -> None:
    """One transaction for each hundred, and one for the rest."""
    for number in range(250):
        buffer.add(result(number))
    assert [len(each) for each in store.transactions] == [100, 100]
    assert buffer.flush()
    assert store.transactions[2] == list(range(200, 250))
    assert buffer.flush()
    assert len(store.transactions) == 3


def test_a_slow_handlers_result_goes_at_once(buffer: ResultBuffer, store: Store) -> None:
    """With those that wait."""
    buffer.add(result(1))
    buffer.add(result(2, duration_seconds=3600.0))
    assert store.transactions == [[1, 2]]


def test_nothing_is_lost_while_the_store_refuses(buffer: ResultBuffer, store: Store) -> None:
    """They come in order when it takes them again."""
    store.refusing = True
    for number in range(150):
        buffer.add(result(number))
    assert not buffer.flush()
    store.refusing = False
    assert buffer.flush(at_end=True)
    assert store.transactions == [list(range(150))]


def test_the_oldest_are_given_up_beyond_a_limit(
    buffer: ResultBuffer, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that never comes back must not take all memory; it is said."""
    monkeypatch.setattr(result_buffer, "MAX_KEPT", 50)
    store.refusing = True
    for number in range(120):
        buffer.add(result(number))
    assert not buffer.flush(at_end=False)
    assert "given_up=" in caplog.text
    store.refusing = False
    buffer.flush(at_end=True)
    assert store.transactions[0][-1] == 119
    assert len(store.transactions[0]) < 120


def test_what_cannot_be_stored_at_the_end_is_said(
    buffer: ResultBuffer, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no later."""
    store.refusing = True
    buffer.add(result(1))
    assert not buffer.flush(at_end=True)
    assert "given_up=1 error=the disk is full" in caplog.text
    assert buffer.flush(at_end=True)
