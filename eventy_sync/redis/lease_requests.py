"""Asking the server for leases: a request each, which is safe to repeat.

A request has an id that begins with a session; the server keeps the last reply to each who asks.  One whose reply was
lost is sent again at once, and gets the reply that was kept, if it was served.  If that does not help, the next request
names it: its session is void from then on, and what was leased in its reply goes back as never begun.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from eventy_sync.redis.changes import LENGTH
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Argument, Link, Script
from eventy_sync.redis.messages import AddResult, encode
from eventy_sync.redis.sessions import Sessions
from eventy_sync.redis.settlement_parts import Part, Place
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.storage.state import Lease, Want

MAX_FAILURES = 2
"""So often a request is sent again at once: its connection may be dead, and the next one lead to another server."""

_EXCHANGE = Script("exchange")
_NOTHING_WANTED = Want(0, 0, 0.0, 1)


class Asked(NamedTuple):
    """A request that was sent: under which key its reply is kept, and its id."""

    key: str
    request: str


class Given(NamedTuple):
    """A lease, since when its events have been tried, and under whom their last attempt ran out, "" for nobody."""

    lease: Lease
    begun_at: int
    dead_worker: str


class Answer(NamedTuple):
    """What the server says to a request; `held` are tokens of those settled that were held still."""

    asked: Asked
    next_id: int
    token: int
    paused: bool
    wait_seconds: float | None
    held: frozenset[int]
    given: list[Given]


class LeaseRequests:
    """Thread safe."""

    def __init__(self, keys: Keys, link: Link, sessions: Sessions, root_id: UUID, epoch: Callable[[], bytes]) -> None:
        # fixed after construction
        self._keys, self._link, self._sessions, self._epoch = keys, link, sessions, epoch
        self._root_id = str(root_id)
        self._lock = threading.Lock()
        # guarded by _lock
        self._session, self._count = sessions.begin().decode(), 0
        self._void: tuple[str, ...] = ()
        self._lost: dict[str, tuple[Asked, ...]] = {}

    def ask(self, place: Place, worker_id: UUID, parts: Sequence[Part], want: Want | None) -> Answer | str:
        """Settle these parts and ask for leases; return the answer, or the word that says why there is none.

        Raises:
            RedisUnavailableError: the server cannot be had, or was lost while it answered.
        """
        settled: list[Argument] = [argument for part in parts for argument in part.arguments()]
        has_results = any(part.results or part.runs for part in parts)
        message = encode(AddResult(str(worker_id), self._root_id)) if has_results else b""
        group = place.group
        while True:
            session, asked, void, lost = self._begin(group, worker_id)
            keys = self._keys.group(group)
            names = [self._keys.meta, self._keys.changes, *keys[:6], asked.key, *(each.key for each in lost)]
            head: list[Argument] = [session, asked.request, str(worker_id), self._keys.channel, " ".join(void)]
            head += [" ".join(each.request for each in lost), LENGTH, message, *_wanted(want), place.birth]
            reply, was_lost = self._send(group, session, asked, names, [*head, *settled])
            if reply.startswith("ok "):
                if not was_lost:
                    self._served(group, void, lost)
                return _answer(asked, reply)
            if was_lost:
                self.lose(group, asked)  # it may have been served before it was refused
            if reply != "void":
                return reply
            with self._lock:  # another thread's reply was lost
                if self._session == session:
                    self._session = self._sessions.begin().decode()

    def _begin(self, group: str, worker_id: UUID) -> tuple[str, Asked, tuple[str, ...], tuple[Asked, ...]]:
        with self._lock:
            self._count += 1
            key = self._keys.group_reply(group, f"{worker_id}:{threading.get_ident()}")
            asked = Asked(key, f"{self._session}.{self._count}")
            return self._session, asked, self._void, self._lost.get(group, ())

    def _send(
        self, group: str, session: str, asked: Asked, names: Sequence[str], arguments: Sequence[Argument]
    ) -> tuple[str, bool]:
        """Return the reply, and whether one was lost before."""
        failures, was_lost = 0, False
        while True:
            try:
                reply = self._link.run(_EXCHANGE, names, [self._epoch(), *arguments]).decode()
            except RedisUnavailableError as exc:
                failures, was_lost = failures + 1, was_lost or exc.may_have_run
                if exc.may_have_run:
                    self._give_up(session)
                if exc.is_timeout or failures > MAX_FAILURES:
                    if was_lost:
                        self.lose(group, asked)
                        raise RedisUnavailableError(str(exc), is_timeout=exc.is_timeout, may_have_run=True) from exc
                    raise
            else:
                return reply, was_lost

    def _give_up(self, session: str) -> None:
        """Let nothing of this session be served any more, once the server has heard of it."""
        self._sessions.give_up(session.encode())
        with self._lock:
            if session not in self._void:
                self._void = (*self._void, session)
            if self._session == session:
                self._session = self._sessions.begin().decode()

    def lose(self, group: str, asked: Asked) -> None:
        """Let what was leased to this request go back with the next one: nobody will work on it."""
        with self._lock:
            self._lost[group] = (*self._lost.get(group, ()), asked)

    def _served(self, group: str, void: tuple[str, ...], lost: tuple[Asked, ...]) -> None:
        with self._lock:
            self._void = tuple(each for each in self._void if each not in void)
            if lost:
                self._lost[group] = tuple(each for each in self._lost[group] if each not in lost)


def _wanted(want: Want | None) -> tuple[int, ...]:
    limit, tail, lease_seconds, *rest = want or _NOTHING_WANTED
    return limit, tail, int(lease_seconds * 1000), *rest


def _answer(asked: Asked, reply: str) -> Answer:
    _, next_id, token, paused, wait_ms, held, leases = reply.split(" ")
    wait_seconds = None if wait_ms == "-1" else int(wait_ms) / 1000
    tokens = frozenset() if held == "-" else frozenset(map(int, held.split(",")))
    return Answer(asked, int(next_id), int(token), paused == "1", wait_seconds, tokens, list(_given(leases)))


def _given(leases: str) -> Iterator[Given]:
    for each in leases.split(","):
        if each not in ("", "-"):
            ends, attempt, token, begun_at, worker = each.split(":")
            first_id, _, last_id = ends.partition("-")
            yield Given(Lease(int(first_id), int(last_id), int(attempt), int(token)), int(begun_at), worker)
