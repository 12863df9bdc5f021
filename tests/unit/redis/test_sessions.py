"""Sessions that were given up, until the server knows of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from eventy_sync.redis.sessions import MAX_VOID, Sessions


def test_a_session_is_eight_characters_that_come_once() -> None:
    """The scripts cut tokens there."""
    sessions = Sessions()
    begun = [sessions.begin() for _ in range(100)]
    assert {len(each) for each in begun} == {8}
    assert len(set(begun)) == 100
    assert sessions.void() == ()


def test_what_was_given_up_is_told_until_the_server_knows() -> None:
    """What is given up while it is being told is told the next time."""
    sessions = Sessions()
    sessions.give_up(b"aaaaaaaa")
    sessions.give_up(b"bbbbbbbb")
    telling = sessions.void()
    assert telling == ("aaaaaaaa", "bbbbbbbb")
    sessions.give_up(b"cccccccc")
    sessions.told(telling)
    assert sessions.void() == ("cccccccc",)
    sessions.told(telling)
    assert sessions.void() == ("cccccccc",)


def test_only_the_last_ones_are_kept() -> None:
    """A server that stays away for ever does not fill the memory."""
    sessions = Sessions()
    for number in range(MAX_VOID + 3):
        sessions.give_up(b"%08d" % number)
    assert sessions.void() == tuple(f"{number:08d}" for number in range(3, MAX_VOID + 3))


GRACE_SECONDS = 0.1
"""So long another thread gets to come between, which it must not."""


class Interrupted(bytes):
    """A session; while it is being given up another thread does something, or waits until that is over."""

    happen: Callable[[], object]

    def decode(self, *arguments: Any) -> str:
        self.thread = threading.Thread(target=self.happen)
        self.thread.start()
        self.thread.join(GRACE_SECONDS)
        return super().decode(*arguments)


@pytest.mark.parametrize(
    ("happen", "left"),
    [
        (lambda sessions: sessions.give_up(b"bbbbbbbb"), {"aaaaaaaa", "bbbbbbbb", "cccccccc"}),
        (lambda sessions: sessions.told(("aaaaaaaa",)), {"cccccccc"}),
    ],
    ids=["gives up another", "has told one"],
)
def test_what_is_given_up_by_two_threads_at_once_is_told(happen: Callable[[Sessions], object], left: set[str]) -> None:
    """A request of a session that the server is not told of would be served late."""
    sessions = Sessions()
    sessions.give_up(b"aaaaaaaa")
    session = Interrupted(b"cccccccc")
    session.happen = lambda: happen(sessions)
    sessions.give_up(session)
    session.thread.join()
    assert set(sessions.void()) == left
