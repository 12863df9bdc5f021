"""A look at the state store: whatever is there is read, and nothing is made, upgraded or written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from eventy_sync.errors import QueueFormatError, StorageError
from eventy_sync.storage.state import (
    Grant,
    GroupChange,
    Lease,
    Settlement,
    StateStore,
    StateView,
    Want,
    encode_change,
)

ANN = UUID(int=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is, once it is."""
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[StateStore]:
    """A store with the group "work" at its first event, that is open."""
    store = StateStore(path)
    store.leases.begin("work", 1)
    yield store
    store.close()


def test_what_is_not_there_is_not_made(path: Path) -> None:
    """One error, and no file."""
    view = StateView(path)
    with pytest.raises(StorageError, match="there is no "):
        view.groups.info(0)
    view.close()
    assert not path.exists()


def test_a_later_version_is_refused(path: Path, store: StateStore) -> None:
    """As a queue refuses it."""
    with store.results._connection.transaction() as database:
        database.execute("PRAGMA user_version = 1000")
    view = StateView(path)
    with pytest.raises(QueueFormatError, match="upgrade eventy-sync"):
        view.groups.info(0)
    view.close()


def test_a_store_that_is_closed_is_read_without_a_file_beside_it(path: Path, store: StateStore) -> None:
    """And may not be written to."""
    store.close()
    before = path.read_bytes()
    view = StateView(path)
    assert [each.name for each in view.groups.info(3)] == ["work"]
    assert view.damage() is None
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    with pytest.raises(StorageError, match="readonly"):
        view.groups.pause("work", True)
    view.close()
    assert path.read_bytes() == before


def test_a_store_that_is_opened_meanwhile_is_read_anew(path: Path, store: StateStore) -> None:
    """What a worker writes after the first look is seen by the second, though it is not in the file itself yet."""
    store.close()
    view = StateView(path)
    assert not view.groups.info(0)[0].paused
    other = StateStore(path)
    other.groups.pause("work", True)
    assert view.groups.info(0)[0].paused
    other.close()
    view.close()


def test_an_event_is_in_one_place_of_a_group(store: StateStore) -> None:
    """Before its beginning, finished, held, waiting, or not handed out."""
    store.leases.begin("late", 3)
    taken = store.leases.exchange("work", ANN, None, Want(2, 5, 60.0, 5))
    lease = taken.leases[0]
    store.leases.exchange("work", ANN, Settlement(done=[lease._replace(last_id=1)]), None)
    late, first = store.groups.of_event(1)
    assert (late.is_in_group, late.is_handed_out, late.is_finished) == (False, True, False)
    assert (first.is_in_group, first.is_finished, first.held_by) == (True, True, None)
    second = store.groups.of_event(2)[1]
    assert second.held_by is not None
    assert (second.is_finished, second.held_by.worker_id, second.held_by.has_run_out) == (False, ANN, False)
    third = store.groups.of_event(3)[1]
    assert (third.is_handed_out, third.is_finished) == (False, False)


def test_where_a_server_gives_leases_only_what_was_told_is_finished_for_certain(path: Path) -> None:
    """Of the others a worker of another root may have one."""
    store = StateStore(path, tells_others=True)
    store.mirror.share()
    store.apply([("group", encode_change(GroupChange(name="work", from_index=1, finished=[(5, 5)])))], {})
    place = store.mirror.place()
    store.mirror.keep(place, ANN, [], [], [], "work", Grant([Lease(1, 3, 1, 1)], [7], 60.0, 4, 1, False))
    settled = GroupChange(name="work", from_index=1, finished=[(1, 1), (3, 3)], token=1)
    store.mirror.keep(place, ANN, [(settled, [(1, 3)])], [], [], "work", None)
    found = [store.groups.of_event(event_id)[0] for event_id in (1, 2, 3, 4, 5)]
    store.close()
    assert [each.is_finished for each in found] == [True, False, True, False, True]
    assert [each.is_handed_out for each in found] == [True, True, True, False, True]
    assert all(each.held_by is None for each in found)
