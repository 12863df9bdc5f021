"""What a worker collects until it is settled."""

from __future__ import annotations

from uuid import UUID

import pytest

from eventy_sync.delivery.outcomes import Outcomes
from eventy_sync.storage.state import Death, Lease, Retry, Settlement

WORKER, SUBSCRIPTION = UUID(int=1), UUID(int=2)
LEASE, OTHER = Lease(1, 100, 1, 7), Lease(101, 101, 3, 8)
AT = 1_700_000_000_000_000


def outcomes() -> Outcomes:
    """Return an empty collection."""
    return Outcomes("billing", WORKER, SUBSCRIPTION)


def test_nothing_is_no_settlement() -> None:
    """It is false, so that nobody is bothered with it."""
    assert not outcomes().take()


def test_plain_successes_in_a_row_are_one_run() -> None:
    """Broken by a hole, and by another lease."""
    some = outcomes()
    for event_id in (1, 2, 3, 5, 6):
        some.succeed(LEASE, event_id, AT + event_id, 10 * event_id)
    some.succeed(OTHER, 101, AT, 5)
    settlement = some.take()
    assert settlement.done == [Lease(1, 3, 1, 7), Lease(5, 6, 1, 7), OTHER]
    assert [(run.first_event_id, run.count, run.attempt, run.token) for run in settlement.runs] == [
        (1, 3, 1, 7),
        (5, 2, 1, 7),
        (101, 1, 3, 8),
    ]
    result = settlement.runs[0].result(1)
    assert (result.event_id, result.duration_seconds, result.worker_id) == (2, 0.00002, WORKER)
    assert (result.group, result.subscription_id, result.success) == ("billing", SUBSCRIPTION, True)
    assert not some.take()


def test_each_outcome_settles_its_event() -> None:
    """Under its lease's token; asking for more time gives the attempt back."""
    some = outcomes()
    some.try_again(LEASE, 1, 2.5, counts=True)
    some.try_again(OTHER, 101, 0.5, counts=False)
    some.die(LEASE, 2, "it broke")
    some.give_back(LEASE, 4, 100)
    some.finish(LEASE, 3, 3)
    some.tell(LEASE, 2, False, "it broke", AT, 1_500_000)
    settlement = some.take()
    assert [each._replace(delay_seconds=0.0) for each in settlement.retries] == [
        Retry(1, 7, 1, 0.0),
        Retry(101, 8, 2, 0.0),
    ]
    assert [each.delay_seconds for each in settlement.retries] == [
        pytest.approx(2.5, abs=0.4),
        pytest.approx(0.5, abs=0.4),
    ]
    assert settlement.deaths == [Death(2, 7, 1, "it broke")]
    assert settlement.returned == [Lease(4, 100, 1, 7)]
    assert settlement.done == [Lease(3, 3, 1, 7)]
    assert settlement.tokens() == {7, 8}
    assert sorted(settlement.ranges(7)) == [(1, 1), (2, 2), (3, 3), (4, 100)]
    (told,) = settlement.results
    assert (told.event_id, told.success, told.details, told.duration_seconds) == (2, False, "it broke", 1.5)
    assert (told.attempt, told.token, told.group) == (1, 7, "billing")


def test_what_was_put_back_comes_again_before_what_came_since() -> None:
    """Nothing of either is lost."""
    some = outcomes()
    some.succeed(LEASE, 1, AT, 5)
    first = some.take()
    some.succeed(LEASE, 2, AT, 5)
    some.put_back(first)
    some.succeed(LEASE, 3, AT, 5)
    settlement = some.take()
    assert [part[:2] for part in settlement.done] == [(1, 1), (2, 2), (3, 3)]
    assert [run.first_event_id for run in settlement.runs] == [1, 2, 3]


def test_settlements_are_joined_part_by_part() -> None:
    """The earlier one first."""
    one, other = Settlement(done=[LEASE]), Settlement(done=[OTHER], retries=[Retry(1, 7, 1, 0.0)])
    assert one.joined(other) == Settlement(done=[LEASE, OTHER], retries=[Retry(1, 7, 1, 0.0)])


def test_a_delay_counts_from_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes until it is settled, and whether that works the first time."""
    clock = [100.0]
    monkeypatch.setattr("eventy_sync.delivery.outcomes.time.monotonic", lambda: clock[0])
    some = outcomes()
    some.try_again(LEASE, 1, 2.0, counts=True)
    some.put_off(LEASE, 2, 0.25)
    clock[0] += 0.5
    settlement = some.take()
    assert settlement.retries == [Retry(1, 7, 1, 1.5), Retry(2, 7, 0, 0.0, begun=False)]
    some.put_back(settlement)
    clock[0] += 1.0
    assert [each.delay_seconds for each in some.take().retries] == [0.5, 0.0]
