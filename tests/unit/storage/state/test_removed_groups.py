"""The removal of a group in a root's store: all of it or nothing, and nothing that comes late undoes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventy_sync.errors import GroupNotFoundError, StorageError
from eventy_sync.storage.state import (
    GROUP,
    Death,
    Grant,
    GroupChange,
    Lease,
    Settlement,
    StateStore,
    Want,
    encode_change,
)

ANN = UUID(int=1)
WANT = Want(100, 20, 60.0, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[StateStore]:
    store = StateStore(path, tells_others=True)
    yield store
    store.close()


def told(store: StateStore, **fields: Any) -> None:
    """Let the store hear of a change to the group."""
    store.apply([(GROUP, encode_change(GroupChange(name="work", from_index=1, **fields)))], {})


def test_a_removal_that_fails_in_between_has_changed_nothing(store: StateStore, path: Path) -> None:
    """The disk refuses the last statement: place and dead letters are there still."""
    store.leases.begin("work", 1)
    (lease,) = store.leases.exchange("work", ANN, None, WANT).leases
    died = Settlement(deaths=[Death(2, lease.token, 1, "no")], done=[Lease(3, 20, 1, lease.token)])
    died.returned.append(Lease(1, 1, 1, lease.token))
    store.leases.exchange("work", ANN, died, None)
    before = store.groups.info(20)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TRIGGER refuse BEFORE INSERT ON removed_groups BEGIN SELECT RAISE(ABORT, 'full'); END")
    database.close()
    with pytest.raises(StorageError):
        store.leases.remove("work")
    assert store.groups.info(20) == before
    assert [each.event_id for each in store.groups.dead_letters("work", None, 10).items] == [2]


def test_what_is_told_late_of_a_removed_group_is_passed_over(store: StateStore) -> None:
    """Until a group of a later birth is told of; the removal told again does nothing to that."""
    store.mirror.share()
    told(store, finished=[(1, 3)])
    told(store, birth=7, removed=True)
    told(store, finished=[(4, 4)], token=3)
    assert store.mirror.names() == []
    told(store, birth=7, finished=[(9, 9)])
    told(store, birth=7, removed=True)
    told(store, finished=[(4, 4)], token=3)
    states, _ = store.mirror.share()
    assert (states["work"].finished, states["work"].token, states["work"].birth) == ([(9, 9)], 7, 7)


def test_a_root_that_has_missed_everything_is_told_of_removals(store: StateStore, tmp_path: Path) -> None:
    """In one with the groups that are there."""
    store.mirror.share()
    told(store, birth=7, removed=True)
    other = StateStore(tmp_path / "other.db", tells_others=True)
    other.mirror.share()
    told(other, finished=[(1, 3)])
    other.apply(store.changes_since(0), {})
    assert (other.mirror.names(), other.mirror.births()) == ([], {"work": 7})
    other.close()


def test_a_lease_of_a_group_that_was_removed_meanwhile_is_not_handed_out(store: StateStore) -> None:
    """Nothing of it stays in the tables, to be taken for unfinished later."""
    store.mirror.share()
    told(store, finished=[(1, 3)])
    place = store.mirror.place()
    told(store, birth=7, removed=True)
    grant = Grant([Lease(4, 9, 1, 5)], [7], 60.0, 10, 5, False)
    assert not store.mirror.keep(place, ANN, [], [], [], "work", grant)
    store.mirror.be_alone()
    assert store.groups.oldest_unfinished() is None
    with pytest.raises(GroupNotFoundError):
        store.leases.remove("work")
