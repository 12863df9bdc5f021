"""Leases and groups in the state store: who has which event, on which attempt, whatever workers and clocks do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from eventy_sync import EventResult, GroupNotFoundError, InvalidArgumentError
from eventy_sync.identifiers import new_id
from eventy_sync.storage.state import Death, Lease, Retry, Settlement, StateStore, Taken, Want, make_runs
from eventy_sync.storage.state.leases import RAN_OUT
from tests.unit.storage.state.clocks_by_hand import Clocks

ANN, BOB = UUID(int=1), UUID(int=2)
HOUR = 3_600_000_000
GROUP = "billing"


class Group:
    """One group of a store, as workers use it: leases of ten seconds, three attempts."""

    def __init__(self, path: Path, clocks: Clocks) -> None:
        self.clocks, self.store = clocks, StateStore(path)
        self.leases, self.groups = self.store.leases, self.store.groups
        self.leases._clocks = self.groups._clocks = clocks
        self.tail = 0

    def ask(self, worker: UUID, limit: int, settlement: Settlement | None = None, max_attempts: int = 3) -> Taken:
        return self.leases.exchange(GROUP, worker, settlement, Want(limit, self.tail, 10.0, max_attempts))

    def take(self, worker: UUID, limit: int = 1, max_attempts: int = 3) -> list[Lease]:
        return self.ask(worker, limit, max_attempts=max_attempts).leases

    def settle(self, worker: UUID, settlement: Settlement) -> None:
        self.leases.exchange(GROUP, worker, settlement, None)

    def die(self, worker: UUID, lease: Lease) -> None:
        death = Death(lease.first_id, lease.token, lease.attempt, "it broke")
        self.settle(worker, Settlement(deaths=[death]))

    def state(self) -> tuple[int, int, int, int, int]:
        """Return next_id, lag, and how many are leased, wait and are dead."""
        (info,) = self.groups.info(self.tail)
        return info.next_id, info.lag, info.leased, info.waiting, info.dead


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def group(tmp_path: Path, clocks: Clocks) -> Iterator[Group]:
    """A group at the beginning of ten events."""
    group = Group(tmp_path / "state.db", clocks)
    group.leases.begin(GROUP, 1)
    group.tail = 10
    yield group
    group.store.close()


def result(lease: Lease, worker: UUID = ANN) -> EventResult:
    now = new_id()
    at = Clocks().now.wall
    run = make_runs(lease.first_id, [at], [5], worker_id=worker, group=GROUP, attempt=lease.attempt, token=lease.token)
    return replace(run[0].result(0), id=now, details="told")


# -- handing out ---------------------------------------------------------------------------------------------


def test_fresh_events_are_handed_out_in_ranges(group: Group) -> None:
    """Each worker gets what comes next, under a token that grows, up to the tail."""
    assert group.take(ANN, 4) == [Lease(1, 4, 1, 1)]
    assert group.take(BOB, 4) == [Lease(5, 8, 1, 2)]
    assert group.take(ANN, 4) == [Lease(9, 10, 1, 3)]
    assert group.take(ANN, 4) == []
    assert group.state() == (11, 10, 10, 0, 0)


def test_a_known_group_keeps_its_place(group: Group) -> None:
    """To begin it again, anywhere, changes nothing."""
    group.take(ANN, 4)
    group.leases.begin(GROUP, 9)
    assert group.take(ANN, 1) == [Lease(5, 5, 1, 2)]


def test_a_group_that_nobody_began_hands_nothing_out(group: Group) -> None:
    """It is not made by asking."""
    assert group.leases.exchange("other", ANN, None, Want(1, 10, 10.0, 3)) == Taken([], None)
    assert [each.name for each in group.groups.info(10)] == [GROUP]


def test_done_parts_shrink_a_lease(group: Group) -> None:
    """From the front, the middle, the end, until nothing is left of it."""
    (lease,) = group.take(ANN, 10)
    for first_id, last_id, leased in [(1, 2, 8), (5, 6, 6), (10, 10, 5), (3, 4, 3), (7, 9, 0)]:
        group.settle(ANN, Settlement(done=[lease._replace(first_id=first_id, last_id=last_id)]))
        assert group.state() == (11, leased, leased, 0, 0)


def test_what_is_given_back_is_fresh_again(group: Group) -> None:
    """The newest ones go back to where they came from, the others wait, due at once; their attempt does not count."""
    (first,), (second,) = group.take(ANN, 5), group.take(BOB, 5)
    group.settle(ANN, Settlement(returned=[first._replace(first_id=3)]))
    assert group.state() == (11, 10, 7, 3, 0)
    group.settle(BOB, Settlement(returned=[second._replace(first_id=8)]))
    assert group.state() == (8, 10, 4, 3, 0)
    assert group.take(BOB, 5) == [Lease(3, 5, 1, 3), Lease(8, 9, 1, 4)]


def test_several_parts_given_back_together_are_all_fresh_again(group: Group) -> None:
    """In whatever order they are named."""
    first, second = group.take(ANN, 5) + group.take(ANN, 5)
    group.settle(ANN, Settlement(returned=[first._replace(first_id=2), second]))
    assert group.state() == (2, 10, 1, 0, 0)


def test_settling_and_taking_are_one_step(group: Group) -> None:
    """What is given back in an exchange may be what it hands out."""
    (lease,) = group.take(ANN, 10)
    taken = group.ask(ANN, 2, Settlement(done=[lease._replace(last_id=4)], returned=[lease._replace(first_id=5)]))
    assert taken.leases == [Lease(5, 6, 1, 2)]


# -- trying again --------------------------------------------------------------------------------------------


def test_a_retry_waits_for_its_time(group: Group, clocks: Clocks) -> None:
    """Not a moment shorter; others go on meanwhile, and a worker is told how long it may sleep."""
    group.tail = 1
    (lease,) = group.take(ANN)
    taken = group.ask(ANN, 1, Settlement(retries=[Retry(1, lease.token, 1, 2.5)]))
    assert taken == Taken([], 2.5)
    clocks.pass_seconds(2.4)
    assert group.take(ANN) == []
    clocks.pass_seconds(0.1)
    assert group.take(BOB) == [Lease(1, 1, 2, 2)]


def test_what_was_tried_comes_alone(group: Group) -> None:
    """With no other behind it that its handler could take into death."""
    (lease,) = group.take(ANN, 4)
    group.settle(ANN, Settlement(retries=[Retry(each, lease.token, 1, 0.0) for each in (1, 2, 3, 4)]))
    assert [group.take(BOB, 100) for _ in range(4)] == [[Lease(each, each, 2, each + 1)] for each in (1, 2, 3, 4)]
    assert group.take(BOB, 100) == [Lease(5, 10, 1, 6)]


def test_one_poisonous_event_never_takes_others_with_it(group: Group, clocks: Clocks) -> None:
    """Whatever is in hand when its worker dies: only the one that kills is out of attempts in the end."""
    finished: set[int] = set()
    for _ in range(50):
        for lease in group.take(ANN, 100):  # a worker that settles nothing before its batch is through
            ids = set(range(lease.first_id, lease.last_id + 1))
            if 5 in ids:
                clocks.pass_seconds(10)
                break
            finished |= ids
            group.settle(ANN, Settlement(done=[lease]))
    assert finished == set(range(1, 11)) - {5}
    (letter,) = group.groups.dead_letters(GROUP, None, 10).items
    assert (letter.event_id, letter.attempts) == (5, 3)


def test_a_retry_that_does_not_count_keeps_the_attempt(group: Group) -> None:
    """As often as it likes."""
    for token in range(1, 9):
        (lease,) = group.take(ANN)
        assert lease == Lease(1, 1, 1, token)
        group.settle(ANN, Settlement(retries=[Retry(1, token, lease.attempt - 1, 0.0)]))


def test_an_attempt_that_was_given_back_does_not_count(group: Group) -> None:
    """Nor one after others, whose count stays."""
    (lease,) = group.take(ANN)
    group.settle(ANN, Settlement(retries=[Retry(1, lease.token, 1, 0.0)]))
    (again,) = group.take(ANN)
    group.settle(ANN, Settlement(returned=[again]))
    assert group.take(ANN) == [Lease(1, 1, 2, 3)]


def test_many_that_wait_cost_a_look_no_more_than_few(group: Group) -> None:
    """The next due one is found by an index, not by reading all that wait or sorting them."""
    statement = (
        "EXPLAIN QUERY PLAN SELECT event_id, attempts, begun_at FROM waiting WHERE group_name = ? AND due_at <= ? "
        "AND event_id <= ? ORDER BY due_at, event_id LIMIT ?"
    )
    (plan,) = group.leases._connection.rows(statement, (GROUP, 1, 1, 1))
    assert "waiting_by_time" in plan[3]


# -- running out ---------------------------------------------------------------------------------------------


def test_a_lease_runs_out_with_its_time(group: Group, clocks: Clocks) -> None:
    """Not before; then its events are handed to others one by one, the attempt counted."""
    group.tail = 2
    group.take(ANN, 2)
    clocks.pass_seconds(9.9)
    taken = group.ask(BOB, 2)
    assert taken.leases == []
    assert taken.wait_seconds == pytest.approx(0.1)
    clocks.pass_seconds(0.1)
    assert group.take(BOB, 2) == [Lease(1, 1, 2, 2)]
    assert group.take(BOB, 2) == [Lease(2, 2, 2, 3)]


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_wall_clock_that_is_set_ends_no_lease(group: Group, clocks: Clocks, by: int) -> None:
    """Neither early nor never."""
    group.tail = 1
    group.take(ANN)
    clocks.set_wall(by)
    clocks.pass_seconds(9.9)
    assert group.take(BOB) == []
    clocks.pass_seconds(0.1)
    assert group.take(BOB) == [Lease(1, 1, 2, 2)]


def test_renewing_makes_a_lease_last(group: Group, clocks: Clocks) -> None:
    """Its whole term from now, for all that is left of it, and only for the worker that has it."""
    group.tail = 3
    (lease,) = group.take(ANN, 3)
    group.settle(ANN, Settlement(done=[lease._replace(first_id=2, last_id=2)]))
    clocks.pass_seconds(9)
    assert group.leases.renew(GROUP, BOB, [lease.token], 10.0) == set()
    assert group.leases.renew(GROUP, ANN, [lease.token, 77], 10.0) == {lease.token}
    clocks.pass_seconds(9)
    assert group.take(BOB) == []
    clocks.pass_seconds(1)
    assert [group.take(BOB)[0].first_id, group.take(BOB)[0].first_id] == [1, 3]


def test_what_ran_out_too_often_is_dead(group: Group, clocks: Clocks) -> None:
    """With a failed result under the token it was lost under."""
    group.tail = 1
    for attempt in (1, 2, 3):
        assert group.take(ANN) == [Lease(1, 1, attempt, attempt)]
        clocks.pass_seconds(10)
    assert group.take(BOB) == []
    assert group.state() == (2, 0, 0, 0, 1)
    (letter,) = group.groups.dead_letters(GROUP, None, 10).items
    assert (letter.attempts, letter.details, letter.worker_id) == (3, RAN_OUT, ANN)
    assert (letter.died_at - letter.first_attempt_at).total_seconds() == 30
    (failed,) = group.store.results.search(None, 10, 1, None, None, None).items
    assert (failed.success, failed.details, failed.attempt, failed.token) == (False, RAN_OUT, 3, 3)
    assert (failed.worker_id, failed.group, failed.stale) == (ANN, GROUP, False)


def test_a_batch_that_ran_out_is_not_dead_under_stricter_settings(group: Group, clocks: Clocks) -> None:
    """Most of it was never begun; another worker's settings do not make up for that."""
    group.take(ANN, 10)
    clocks.pass_seconds(10)
    assert group.take(BOB, 1, max_attempts=1) == [Lease(1, 1, 2, 2)]
    assert group.state() == (11, 10, 1, 9, 0)


def test_what_comes_under_an_overtaken_token_changes_nothing(group: Group, clocks: Clocks) -> None:
    """Done, failed, dead or given back: the new holder has the event; the late results are kept, marked stale."""
    group.tail = 4
    (late,) = group.take(ANN, 4)
    clocks.pass_seconds(10)
    assert group.take(BOB) == [Lease(1, 1, 2, 2)]
    before = group.state()
    run = make_runs(1, [clocks.now.wall], [5], worker_id=ANN, group=GROUP, token=late.token)
    group.settle(
        ANN,
        Settlement(
            done=[late._replace(last_id=1)],
            runs=run,
            results=[result(late)],
            retries=[Retry(2, late.token, 1, 0.0)],
            deaths=[Death(3, late.token, 1, "x")],
            returned=[late._replace(first_id=4)],
        ),
    )
    assert group.state() == before
    stale = group.store.results.search(None, 10, 1, None, None, None).items
    assert [each.stale for each in stale] == [True, True]


def test_a_token_is_good_for_its_own_worker_only(group: Group) -> None:
    """Another's settlement under it changes nothing."""
    (lease,) = group.take(ANN, 4)
    group.settle(BOB, Settlement(done=[lease]))
    assert group.state() == (5, 10, 4, 0, 0)


def test_a_lease_that_ran_out_is_good_until_another_has_its_events(group: Group, clocks: Clocks) -> None:
    """A worker that is late but alone need not do its work twice."""
    group.tail = 1
    (lease,) = group.take(ANN)
    clocks.pass_seconds(60)
    group.settle(ANN, Settlement(done=[lease], results=[result(lease)]))
    assert group.take(BOB) == []
    (kept,) = group.store.results.search(None, 10, 1, None, None, None).items
    assert not kept.stale


def test_settling_twice_is_settling_once(group: Group) -> None:
    """As a worker does that never heard that the first was kept."""
    (lease,) = group.take(ANN, 2)
    settlement = Settlement(done=[lease._replace(last_id=1)], retries=[Retry(2, lease.token, 1, 0.0)])
    settlement.results.append(result(lease))
    group.settle(ANN, settlement)
    before = group.state()
    group.settle(ANN, settlement)
    assert group.state() == before
    assert group.store.results.count(1, None, None, None) == 1


# -- dead letters, pauses, reset -----------------------------------------------------------------------------


def test_a_dead_letter_tells_its_story(group: Group, clocks: Clocks) -> None:
    """Attempts, details, who gave it up, and the times of its first attempt and its death."""
    (lease,) = group.take(ANN)
    group.settle(ANN, Settlement(retries=[Retry(1, lease.token, 1, 0.0)]))
    clocks.pass_seconds(5)
    (again,) = group.take(BOB)
    group.settle(BOB, Settlement(returned=[again]))
    (again,) = group.take(BOB)
    clocks.pass_seconds(1)
    group.die(BOB, again)
    (letter,) = group.groups.dead_letters(GROUP, None, 10).items
    assert (letter.event_id, letter.group, letter.attempts, letter.details) == (1, GROUP, 2, "it broke")
    assert letter.worker_id == BOB
    assert (letter.died_at - letter.first_attempt_at).total_seconds() == 6


def test_time_before_the_first_attempt_is_not_in_a_dead_letters_story(group: Group, clocks: Clocks) -> None:
    """Given back and waiting for an hour: nobody had tried it."""
    (lease,), _ = group.take(ANN), group.take(BOB)
    group.settle(ANN, Settlement(returned=[lease]))
    clocks.pass_seconds(3600)
    (lease,) = group.take(ANN)
    group.die(ANN, lease)
    (letter,) = group.groups.dead_letters(GROUP, None, 10).items
    assert letter.first_attempt_at == letter.died_at


def test_dead_letters_come_by_pages(group: Group) -> None:
    """In the order of their events."""
    for _ in range(5):
        group.die(ANN, group.take(ANN)[0])
    found, page_id = [], None
    while True:
        page = group.groups.dead_letters(GROUP, page_id, 2)
        found.append([each.event_id for each in page.items])
        if (page_id := page.next_page_id) is None:
            break
    assert found == [[1, 2], [3, 4], [5]]
    with pytest.raises(InvalidArgumentError, match="limit"):
        group.groups.dead_letters(GROUP, None, 0)
    with pytest.raises(InvalidArgumentError, match="page_id"):
        group.groups.dead_letters(GROUP, "x", 1)


def test_requeued_events_are_as_if_never_tried(group: Group) -> None:
    """All, or those that are named; what is no dead letter is passed over."""
    for _ in range(4):
        group.die(ANN, group.take(ANN)[0])
    assert group.groups.requeue(GROUP, [2, 2, 9, 77]) == 1
    assert group.take(ANN, 1) == [Lease(2, 2, 1, 6)]
    assert group.groups.requeue(GROUP, None) == 3
    assert group.take(ANN, 100) == [Lease(1, 1, 1, 8), Lease(3, 4, 1, 9), Lease(5, 10, 1, 10)]
    assert group.groups.requeue(GROUP, None) == 0


def test_a_paused_group_hands_nothing_out(group: Group, clocks: Clocks) -> None:
    """Nothing fresh, nothing due, nothing that ran out; what is leased can be settled, and nobody is hurried."""
    (lease,), (other,) = group.take(ANN), group.take(ANN)
    group.groups.pause(GROUP, True)
    taken = group.ask(ANN, 1, Settlement(retries=[Retry(1, lease.token, 1, 0.0)]))
    assert taken == Taken([], None)
    clocks.pass_seconds(20)
    assert group.ask(BOB, 1) == Taken([], None)
    group.settle(ANN, Settlement(done=[other]))
    assert group.state() == (3, 9, 0, 1, 0)
    group.groups.pause(GROUP, False)
    assert group.take(BOB) == [Lease(1, 1, 2, 5)]


def test_nothing_is_known_of_a_group_that_nobody_began(group: Group) -> None:
    """One clear error each."""
    for call in (
        lambda: group.groups.pause("other", True),
        lambda: group.groups.dead_letters("other", None, 1),
        lambda: group.groups.requeue("other", None),
    ):
        with pytest.raises(GroupNotFoundError, match="no group 'other'"):
            call()


def test_finished_is_what_is_neither_fresh_leased_nor_waiting(group: Group) -> None:
    """Dead letters count as finished; so does what waits for its time without having been tried."""
    group.tail = 3
    (lease,) = group.take(ANN, 2)
    assert not group.groups.is_finished(GROUP, 1)
    group.settle(ANN, Settlement(done=[lease._replace(last_id=1)], retries=[Retry(2, lease.token, 1, 60.0)]))
    assert group.groups.is_finished(GROUP, 1)
    assert not group.groups.is_finished(GROUP, 2)
    group.die(ANN, group.take(ANN, 2)[0])
    assert not group.groups.is_finished(GROUP, 3)  # for 2 waits still
    assert group.groups.is_finished("other", 3)


def test_the_oldest_unfinished_event_is_that_of_any_group(group: Group) -> None:
    """Fresh, leased or waiting."""
    group.leases.begin("behind", 7)
    assert group.groups.oldest_unfinished() == 1
    (lease,) = group.take(ANN, 10)
    group.settle(ANN, Settlement(done=[lease._replace(last_id=3)]))
    assert group.groups.oldest_unfinished() == 4
    group.settle(ANN, Settlement(done=[lease._replace(first_id=6)], retries=[Retry(5, 1, 1, 9.0), Retry(4, 1, 1, 9.0)]))
    assert group.groups.oldest_unfinished() == 4
    group.settle(ANN, Settlement(done=[lease._replace(first_id=4)]))  # overtaken by itself: it holds nothing any more
    assert group.groups.oldest_unfinished() == 4


def test_no_group_has_no_unfinished_event(tmp_path: Path) -> None:
    """Nothing holds retention up."""
    store = StateStore(tmp_path / "state.db")
    assert store.groups.oldest_unfinished() is None
    store.close()


def test_a_reset_overtakes_every_lease(group: Group) -> None:
    """Workers in the middle of one settle nothing, and the group goes on behind what was dropped."""
    (lease,) = group.take(ANN, 4)
    group.die(ANN, lease._replace(last_id=1))
    group.store.clear(11)
    group.settle(ANN, Settlement(done=[lease], results=[result(lease)]))
    assert group.state() == (11, 0, 0, 0, 0)
    group.tail = 12
    assert group.take(ANN, 4) == [Lease(11, 12, 1, 2)]
    assert [each.stale for each in group.store.results.search(None, 9, None, None, None, None).items] == [True]


def test_what_was_settled_is_not_settled_again_while_the_rest_is_held(group: Group) -> None:
    """A worker that never heard of its first settlement does not take the event away from who has it now."""
    group.tail = 3
    (lease,) = group.take(ANN, 3)
    settlement = Settlement(
        retries=[Retry(1, lease.token, 1, 0.0)], returned=[lease._replace(first_id=3)], deaths=[Death(2, 1, 1, "x")]
    )
    first, settlement.deaths = settlement.deaths, []
    group.settle(ANN, settlement)
    assert group.take(BOB, 9) == [Lease(1, 1, 2, 2)]
    assert group.take(BOB, 9) == [Lease(3, 3, 1, 3)]
    before = group.state()
    group.settle(ANN, settlement)
    group.settle(ANN, Settlement(deaths=[first[0]._replace(event_id=1)]))
    assert group.state() == before


def test_events_that_are_not_there_any_more_come_as_one_lease(group: Group, clocks: Clocks) -> None:
    """However many, and again if their worker dies; the others come as ever."""
    want = Want(2, 50_000, 10.0, 1, 49_998)
    (lost,) = group.leases.exchange(GROUP, ANN, None, want).leases
    (lease,) = group.leases.exchange(GROUP, BOB, None, want).leases
    assert (lost[:3], lease[:3]) == ((1, 49_997, 1), (49_998, 49_999, 1))
    group.leases.renew(GROUP, BOB, [lease.token], 100.0)
    clocks.pass_seconds(11)
    (again,) = group.leases.exchange(GROUP, BOB, None, want).leases
    assert again[:3] == (1, 49_997, 1)
    group.settle(BOB, Settlement(done=[again, lease]))
    (last,) = group.leases.exchange(GROUP, BOB, None, want).leases
    assert last[:3] == (50_000, 50_000, 1)
