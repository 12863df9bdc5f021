"""What a root remembers of the others, and forgetting them; no server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from eventy_sync.redis.roots import ROOT_EXPIRY_SECONDS, Root, Roots
from eventy_sync.storage.state import StateStore

OTHER = str(UUID(int=7))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    """A state store of its own."""
    opened = StateStore(tmp_path / "state.db")
    yield opened
    opened.close()


def heard(seconds_ago: float = 0.0, **fields: object) -> list[bytes]:
    """Return what Redis has of another root."""
    root = Root(host="h", tail=3, seen_at=time.time() - seconds_ago, **fields)  # type: ignore[arg-type]
    return [OTHER.encode(), msgspec.json.encode(root)]


def test_what_was_heard_is_remembered(store: StateStore) -> None:
    """By the next process of this root, for a day."""
    Roots(uuid4(), store).learn(heard())
    assert Roots(uuid4(), store).others()[OTHER].tail == 3
    roots = Roots(uuid4(), store)
    roots.learn(heard(ROOT_EXPIRY_SECONDS + 1))
    assert roots.is_alone


@pytest.mark.parametrize("ahead_seconds", [0.0, 3600.0, -3600.0])
def test_a_root_is_forgotten_whatever_its_clock_says(store: StateStore, ahead_seconds: float) -> None:
    """Until it is heard of again, by a time of the same clock."""
    roots = Roots(uuid4(), store)
    roots.learn(heard(-ahead_seconds))
    roots.forget(OTHER)
    assert roots.is_alone
    roots.learn(heard(max(-ahead_seconds, 0.0) + 1))  # said before, arriving late
    assert roots.is_alone or ahead_seconds > 0
    roots.learn(heard(-ahead_seconds - 3601))
    assert not roots.is_alone


def test_other_processes_of_the_root_notice(store: StateStore) -> None:
    """When they ask whether they are alone, and when they hear of the others; what they remember does not undo it."""
    working, asked = Roots(uuid4(), store), Roots(uuid4(), store)
    working.learn(heard(1))
    assert not working.is_alone
    asked.forget(OTHER)
    assert working.is_alone
    working.remember_all()
    late = heard(1)
    other = Roots(uuid4(), store)
    other.learn(late)
    assert other.is_alone
    assert other.untold == [OTHER]


def test_redis_is_told_only_of_what_it_does_not_know(store: StateStore) -> None:
    """A mark there already is not told again."""
    roots = Roots(uuid4(), store)
    roots.learn(heard(1))
    roots.forget(OTHER)
    roots.learn([OTHER.encode(), b'{"closed":true,"forgotten":true}'])
    assert roots.untold == []
    assert roots.is_alone


def test_what_was_forgotten_long_ago_is_dropped(store: StateStore) -> None:
    """The list does not grow for ever."""
    Roots(uuid4(), store, expiry_seconds=0.0).forget("once")
    Roots(uuid4(), store, expiry_seconds=0.0).forget("again")
    kept = store.remembered.get("forgotten_roots")
    assert kept is not None
    assert list(msgspec.json.decode(kept)) == ["again"]
