"""What a root remembers of the others, and forgetting them; no server."""

from __future__ import annotations

import socket
import time
from uuid import UUID, uuid4

import msgspec
import pytest

from eventy_sync.redis import roots as module
from eventy_sync.redis.roots import ROOT_EXPIRY_SECONDS, Root, Roots
from eventy_sync.storage.state import StateStore

OTHER = str(UUID(int=7))


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


def test_a_root_that_lives_is_remembered_now_and_then(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of then, so that it is not taken for gone a day after it was first heard of; not each time."""

    def remembered_seconds_ago() -> float:
        return time.time() - Roots(uuid4(), store).others()[OTHER].seen_at

    roots = Roots(uuid4(), store)
    roots.learn(heard(5000))
    roots.learn(heard(1))
    assert remembered_seconds_ago() > 4000
    monkeypatch.setattr(module, "REMEMBER_SECONDS", 0.0)
    roots.learn(heard(1))
    assert remembered_seconds_ago() < 1000


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


@pytest.mark.parametrize(
    ("days", "is_expired"), [(0.0, False), (1.5, False), (1.99, False), (2.01, True), (20_000.0, True)]
)
@pytest.mark.parametrize("is_forgotten", [False, True])
def test_redis_need_not_keep_a_root_for_ever(
    store: StateStore, days: float, is_expired: bool, is_forgotten: bool
) -> None:
    """Nor a mark; but for longer than it counts: another one's clock may be behind."""
    roots = Roots(uuid4(), store)
    pair = heard(days * ROOT_EXPIRY_SECONDS, forgotten=is_forgotten)
    roots.learn([*pair, b"malformed", b"{"])
    assert roots.expired == pair * is_expired
    roots.learn([])
    assert roots.expired == []


def test_a_root_is_not_taken_off_by_itself(store: StateStore) -> None:
    """It says that it lives in a moment."""
    roots = Roots(UUID(OTHER), store)
    roots.learn(heard(3 * ROOT_EXPIRY_SECONDS))
    assert roots.expired == []


def test_not_all_are_taken_off_at_once(store: StateStore) -> None:
    """However many were left: the server has other things to do, too."""
    roots = Roots(uuid4(), store)
    value = heard(3 * ROOT_EXPIRY_SECONDS)[1]
    roots.learn([part for number in range(150) for part in (b"%d" % number, value)])
    assert roots.expired == [part for number in range(100) for part in (b"%d" % number, value)]


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_root_says_of_itself_who_and_how_far_it_is(store: StateStore, is_closed: bool) -> None:
    """Another one understands it."""
    described = Roots(uuid4(), store).myself(42, closed=is_closed)
    roots = Roots(uuid4(), store)
    roots.learn([OTHER.encode(), described])
    root = roots.others()[OTHER]
    assert (root.host, root.tail, root.closed, root.forgotten) == (socket.gethostname(), 42, is_closed, False)
    assert abs(root.seen_at - time.time()) < 30


def test_a_root_is_not_one_of_the_others(store: StateStore) -> None:
    """What Redis has of it is counted, and no more."""
    myself = uuid4()
    roots = Roots(myself, store)
    roots.learn([str(myself).encode(), roots.myself(1)])
    assert roots.count == 1
    assert roots.is_alone


MALFORMED = {
    "empty": b"",
    "no text": b"\xff",
    "a list": b"[]",
    "null": b"null",
    "a tail in a text": b'{"tail":"3"}',
    "a time without an end": b'{"seen_at":1e999}',
    "closed by a number": b'{"closed":1}',
    "too deep": b'{"x":' * 50_000,
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_root_is_passed_over(store: StateStore, value: bytes) -> None:
    """It is counted all the same: the server says how many there are by counting."""
    roots = Roots(uuid4(), store)
    roots.learn([b"malformed", value, *heard(), b"\xff", b"{}"])
    assert set(roots.others()) == {OTHER}
    assert roots.count == 3


def test_who_the_server_does_not_name_any_more_is_remembered(store: StateStore) -> None:
    """It may have lost it; what it says of who it names is taken."""
    roots = Roots(uuid4(), store)
    roots.learn(heard())
    roots.learn([])
    assert roots.count == 0
    assert set(roots.others()) == {OTHER}
    roots.learn(heard(closed=True))
    assert roots.others()[OTHER].closed


def test_a_silent_root_is_no_more_once_its_time_is_over(store: StateStore) -> None:
    """Without anything being heard."""
    roots = Roots(uuid4(), store, expiry_seconds=100.0)
    roots.learn(heard(99.0))
    assert not roots.is_alone
    roots.learn(heard(101.0))
    assert roots.is_alone


def test_only_news_is_kept_at_once(store: StateStore) -> None:
    """Who is there and who is closed; how far each is, at the end."""
    roots = Roots(uuid4(), store)
    roots.learn(heard(10.0))
    first = store.remembered.get("roots")
    roots.learn(heard(5.0))
    assert store.remembered.get("roots") == first
    roots.learn(heard(5.0, closed=True))
    second = store.remembered.get("roots")
    assert second != first
    roots.learn(heard(0.0, closed=True))
    roots.remember_all()
    assert store.remembered.get("roots") not in (first, second)


def test_remembering_at_the_end_is_no_matter_of_life_and_death(store: StateStore) -> None:
    """A disk that refuses then does not keep a queue from closing."""
    roots = Roots(uuid4(), store)
    roots.learn(heard())
    kept = store.remembered.get("roots")
    with store._connection.transaction() as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON remembered BEGIN SELECT RAISE(ABORT, 'full'); END")
    roots.learn(heard(5.0))
    roots.remember_all()
    assert store.remembered.get("roots") == kept


def test_what_no_root_may_have_is_before_the_oldest_event_of_all(store: StateStore) -> None:
    """A closed root may have it; one that is forgotten, or was not heard of for a day, brings nothing back."""
    roots = Roots(uuid4(), store)
    assert roots.lost_before(50) == 50
    described = Roots(UUID(OTHER), store)
    described.oldest_here = lambda: 20
    roots.learn([OTHER.encode(), described.myself(90, closed=True)])
    assert (roots.lost_before(50), roots.lost_before(10), roots.lost_before(1)) == (20, 10, 1)
    roots.forget(OTHER)
    assert roots.lost_before(50) == 50
    roots.learn(heard(ROOT_EXPIRY_SECONDS + 1, oldest=20))
    assert roots.lost_before(50) == 50
