"""What a root remembers of a group whose leases a server gives, and how it goes on alone with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventy_sync.storage.state import (
    GROUP,
    Grant,
    GroupChange,
    Lease,
    PlaceChangedError,
    Settlement,
    StateStore,
    Want,
    encode_change,
)

ANN, BOB = UUID(int=1), UUID(int=2)
WANT = Want(100, 20, 60.0, 5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    """A root's store, whose groups are shared with a server."""
    store = StateStore(tmp_path / "state.db", tells_others=True)
    store.mirror.share()
    yield store
    store.close()


def told(store: StateStore, **fields: Any) -> None:
    """Let the store hear of a change to the group."""
    store.apply([(GROUP, encode_change(GroupChange(name="work", from_index=1, **fields)))], {})


def given(store: StateStore, worker_id: UUID, *leases: Lease, place: bytes | None = None) -> bool:
    """Let the store keep leases that the server has given."""
    grant = Grant(list(leases), [7] * len(leases), 60.0, leases[-1].last_id + 1, leases[-1].token, False)
    return store.mirror.keep(place or store.mirror.place(), worker_id, [], [], [], "work", grant)


def test_alone_it_goes_on_behind_what_it_knows(store: StateStore) -> None:
    """What others have finished is not handed out, nor what its own workers have; what nobody is known to have is."""
    told(store, finished=[(1, 3), (8, 9)])
    assert given(store, ANN, Lease(5, 6, 1, 4))
    place = store.mirror.be_alone()
    taken = store.leases.exchange("work", BOB, None, WANT, place)
    assert [(each.first_id, each.last_id) for each in taken.leases] == [(4, 4), (7, 7), (10, 20)]
    assert min(each.token for each in taken.leases) > 1000  # the server may have gone on, and its reply be lost
    store.leases.exchange("work", ANN, Settlement(done=[Lease(5, 6, 1, 4)]), None, place)
    states, was_alone = store.mirror.share()
    assert was_alone
    assert states["work"].finished == [(1, 3), (5, 6), (8, 9)]


def test_leases_that_were_asked_for_before_the_checkpoint_are_not_kept(store: StateStore) -> None:
    """Others believe by then that nobody of this root has them."""
    told(store)
    place = store.mirror.place()
    store.mirror.share()
    assert not given(store, ANN, Lease(1, 9, 1, 1), place=place)
    assert store.mirror.share()[0]["work"].leases == []


def test_nobody_is_alone_with_groups_that_are_shared_again(store: StateStore) -> None:
    """What was asked for in the belief to be alone is refused as a whole."""
    told(store)
    place = store.mirror.be_alone()
    store.mirror.share()
    with pytest.raises(PlaceChangedError):
        store.leases.exchange("work", ANN, None, WANT, place)


def test_changes_that_come_late_do_not_undo_later_ones(store: StateStore) -> None:
    """What is known under a larger token stays, and what is finished always."""
    told(store, waiting=[(1, 2, 50, 40, 9), (2, 1, 50, 40, 3)])
    told(store, waiting=[(1, 1, 30, 40, 4)], finished=[(2, 2)])
    told(store, waiting=[(2, 2, 50, 40, 99)], dead=[(1, 5, "late", ANN.bytes, 1, 2, 8)])
    (waiting,) = store.mirror.share()[0]["work"].waiting
    assert (waiting.event_id, waiting.attempts, waiting.token) == (1, 2, 9)
    told(store, dead=[(1, 5, "in time", ANN.bytes, 1, 2, 12)])
    assert [each.details for each in store.groups.dead_letters("work", None, 10).items] == ["in time"]
    told(store, requeued=[1], requeued_at=60, token=11)
    assert store.groups.dead_letters("work", None, 10).items != []
    told(store, requeued=[1], requeued_at=60, token=13)
    assert store.groups.dead_letters("work", None, 10).items == []
    assert store.mirror.share()[0]["work"].waiting[0].attempts == 0


def test_another_worker_takes_a_part_of_a_lease_over(store: StateStore) -> None:
    """The rest stays with who had it."""
    told(store)
    given(store, ANN, Lease(1, 9, 1, 1))
    given(store, BOB, Lease(4, 4, 2, 2))
    told(store, finished=[(1, 2)])
    leases = store.mirror.share()[0]["work"].leases
    assert [(each.first_id, each.last_id, each.token) for each in leases] == [(3, 3, 1), (4, 4, 2), (5, 9, 1)]


def test_a_pause_counts_unless_a_later_one_is_known(store: StateStore) -> None:
    """By tokens, as all else."""
    told(store, paused=True, token=5)
    told(store, paused=False, token=4)
    assert store.mirror.share()[0]["work"].paused


def test_what_a_root_has_missed_is_all_told(store: StateStore, tmp_path: Path) -> None:
    """By another root, in changes."""
    told(store, finished=[(1, 3)], waiting=[(5, 1, 50, 40, 2)], dead=[(6, 5, "no", ANN.bytes, 1, 2, 3)])
    other = StateStore(tmp_path / "other.db")
    other.apply(store.changes_since(0), {})
    assert other.mirror.unfinished("work", 8) == store.mirror.unfinished("work", 8) == [(4, 5), (7, 8)]
    assert other.groups.dead_letters("work", None, 10) == store.groups.dead_letters("work", None, 10)
    other.close()


def test_nonsense_from_another_root_is_passed_over(store: StateStore) -> None:
    """And what comes with it is kept."""
    store.apply([(GROUP, b'{"name":7}'), (GROUP, b"\xff")], {})
    told(store, finished=[(1, 1)])
    assert store.mirror.unfinished("work", 2) == [(2, 2)]


def test_alone_what_nobody_is_known_to_have_may_be_millions(store: StateStore) -> None:
    """It is handed out from a range, not kept each by itself; what this root has not got comes as one lease."""
    last_id = 10_000_000
    told(store, finished=[(last_id, last_id + 3)])
    place = store.mirror.be_alone()
    (info,) = store.groups.info(last_id + 3)
    assert (info.leased, info.waiting, info.lag) == (0, last_id - 1, last_id - 1)
    assert store.groups.oldest_unfinished() == 1
    want = Want(100, last_id + 3, 60.0, 5, 40_001)
    (lost,) = store.leases.exchange("work", ANN, None, want, place).leases
    (lease,) = store.leases.exchange("work", BOB, None, want, place).leases
    assert (lost[:2], lease[:2]) == ((1, 40_000), (40_001, 40_100))
    store.leases.exchange("work", ANN, Settlement(returned=[lost]), None, place)
    assert not store.leases.exchange("work", BOB, Settlement(done=[lease]), None, place).leases
    states, _ = store.mirror.share()
    assert states["work"].left == [(1, 40_000), (40_101, last_id - 1)]
    assert (states["work"].finished, states["work"].waiting) == ([(40_001, 40_100), (last_id, last_id + 3)], [])
    store.mirror.be_alone()
    states, _ = store.mirror.share()
    assert states["work"].left == [(1, 40_000), (40_101, last_id - 1)]
