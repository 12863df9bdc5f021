"""What several roots know of a group becomes one: finished events stay, and the larger token tells the later thing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eventy_sync.storage.state import GroupState, HeldLease, WaitingEvent, merged

ANN, BOB = "ann", "bob"


def state(next_id: int = 1, **fields: Any) -> GroupState:
    return GroupState(**{"from_index": 1, "next_id": next_id, **fields})


def lease(first_id: int, last_id: int, token: int, worker_id: str = ANN) -> HeldLease:
    return HeldLease(first_id, last_id, 1, token, worker_id, 0, 1000)


def waits(event_id: int, token: int, attempts: int = 1) -> WaitingEvent:
    return WaitingEvent(event_id, attempts, token, 0, 0)


def held(found: GroupState) -> list[tuple[int, int, int]]:
    return [(each.first_id, each.last_id, each.token) for each in found.leases]


def waiting(found: GroupState) -> list[tuple[int, int]]:
    return [(each.event_id, each.attempts) for each in found.waiting]


def test_what_any_root_knows_to_be_finished_is() -> None:
    """Whatever others believe of it."""
    found = merged([state(finished=[(1, 5)]), state(leases=[lease(4, 8, 9)], waiting=[waits(3, 7)], dead=[(2, 99)])])
    assert (found.finished, held(found), waiting(found), found.dead) == ([(1, 5)], [(6, 8, 9)], [], [])
    assert found.next_id == 9


def test_a_lease_is_taken_over_by_a_later_one() -> None:
    """Where they overlap; the rest stays with the earlier."""
    found = merged([state(leases=[lease(1, 10, 3)]), state(leases=[lease(4, 6, 5, BOB)])])
    assert held(found) == [(1, 3, 3), (4, 6, 5), (7, 10, 3)]


def test_the_same_lease_told_twice_is_one() -> None:
    """By its worker's root and by the server, which knows that a part was settled."""
    found = merged([state(leases=[lease(1, 10, 3)]), state(leases=[lease(6, 10, 3)], finished=[(1, 5)])])
    assert held(found) == [(6, 10, 3)]


def test_what_is_told_later_of_an_event_counts() -> None:
    """Under one token it is leased, then waits, then is dead; requeued under a larger one it waits again."""
    assert waiting(merged([state(leases=[lease(1, 1, 3)]), state(waiting=[waits(1, 3)])])) == [(1, 1)]
    assert held(merged([state(leases=[lease(1, 1, 4)]), state(waiting=[waits(1, 3)])])) == [(1, 1, 4)]
    assert merged([state(dead=[(1, 3)]), state(waiting=[waits(1, 3)])]).dead == [(1, 3)]
    found = merged([state(dead=[(1, 3)]), state(waiting=[waits(1, 4, 0)])])
    assert (found.dead, waiting(found)) == ([], [(1, 0)])


def test_what_nobody_accounts_for_waits_or_is_fresh() -> None:
    """Below what somebody knows it waits for a first attempt; behind that it was perhaps never handed out."""
    found = merged([state(next_id=50, finished=[(1, 3), (6, 7)])])
    assert (waiting(found), found.next_id) == ([(4, 0), (5, 0)], 8)


def test_a_group_that_has_done_nothing_begins_where_it_began() -> None:
    """Also where some know nothing else of it."""
    assert merged([state(from_index=12, next_id=12)]).next_id == 12


def test_tokens_go_on_growing_and_the_latest_says_whether_it_pauses() -> None:
    """A root that has heard nothing for long has no say."""
    found = merged([state(token=8, paused=True), state(token=3), state(leases=[lease(1, 1, 11)])])
    assert (found.token, found.paused) == (11, True)


def test_a_root_that_was_alone_has_finished_what_is_nowhere() -> None:
    """Between its beginning and what it would hand out next."""
    alone = state(10, leases=[lease(4, 5, 2)], waiting=[waits(7, 1)], dead=[(1, 1)])
    assert alone.with_all_before_finished().finished == [(2, 3), (6, 6), (8, 9)]


def test_times_are_counted_from_the_moment_of_telling() -> None:
    """What is told later ends sooner."""
    later = state(leases=[lease(1, 1, 1)], waiting=[waits(2, 1)]).later(400)
    assert (later.leases[0].ends_ms, later.waiting[0].due_ms) == (600, -400)


IDS = st.integers(1, 30)
STATES = st.builds(
    lambda finished, leases, waiting, dead: state(
        finished=sorted((each, each) for each in finished),
        leases=[lease(first, first + length, token) for first, length, token in leases],
        waiting=[waits(event_id, token) for event_id, token in waiting.items()],
        dead=list(dead.items()),
    ),
    st.sets(IDS, max_size=5),
    st.lists(st.tuples(IDS, st.integers(0, 5), st.integers(1, 20)), max_size=3),
    st.dictionaries(IDS, st.integers(1, 20), max_size=3),
    st.dictionaries(IDS, st.integers(1, 20), max_size=3),
)


@given(st.lists(STATES, min_size=1, max_size=4))
def test_every_event_is_in_one_place(states: list[GroupState]) -> None:
    """Finished, leased, waiting, dead or fresh, and none is told of twice; merging again changes nothing."""
    found = merged(states)
    told = [event_id for first_id, last_id in found.finished for event_id in range(first_id, last_id + 1)]
    told += [event_id for each in found.leases for event_id in range(each.first_id, each.last_id + 1)]
    told += [each.event_id for each in found.waiting] + [event_id for event_id, _ in found.dead]
    assert sorted(told) == list(range(1, found.next_id))
    again = merged([found])
    assert (again.finished, again.dead, again.next_id) == (found.finished, found.dead, found.next_id)
    assert (held(again), waiting(again)) == (held(found), waiting(found))


def test_a_long_gap_is_left_as_a_range() -> None:
    """Nobody accounts for it, and it is too much to let each event wait; what was left is not finished."""
    found = merged([state(finished=[(1, 3), (5, 9), (11_010, 11_010)])])
    assert (waiting(found), found.left, found.next_id) == ([(4, 0)], [(10, 11_009)], 11_011)
    assert found.with_all_before_finished().finished == [(1, 3), (5, 9), (11_010, 11_010)]
    assert merged([found]) == found
