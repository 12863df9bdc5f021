"""Joining: when the epoch changes and who is awaited then, whose queue it is, what is brought to the same; join.lua.

The server of these tests does not say which one it is, as where one may not ask; ``test_same_server`` has one that
does.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import msgspec
import pytest

from eventy_sync.redis.journal import Joined, Journal, Refused
from eventy_sync.redis.sessions import Sessions
from tests.unit.redis.conftest import Fake

QUEUE, OTHER_QUEUE, ROOT, WORKER = (UUID(int=number) for number in range(1, 5))
EPOCH, RUN_ID = "e1", "of another one"
A, B, C = "root-a", "root-b", "root-c"
OPEN, CLOSED = b'{"tail":1}', b'{"tail":1,"closed":true}'


class Server:
    """A server that has a queue of five events, and a root that joins there."""

    def __init__(self, fake: Fake) -> None:
        self.fake, self.keys, self.sessions = fake, fake.keys, Sessions()
        self.journal = Journal(fake.keys, ROOT, WORKER, 1000, fake.link, fake.link, self.sessions)
        fake.begin_epoch(EPOCH, queue_id=str(QUEUE), run_id=RUN_ID, token=7)
        fake.client.set(self.keys.next_event_id, 6)
        for number in range(1, 6):
            fake.client.xadd(self.keys.journal, {"a": number, "f": "x"}, id=f"{number}-0")

    def join(self, tail: int = 5, **given: Any) -> Joined | Refused:
        description, last_token = given.get("description", OPEN), given.get("last_token", 0)
        queue_id, adopts = given.get("queue_id", QUEUE), given.get("adopts", False)
        return self.journal.join(queue_id, tail, description, last_token, given.get("others", []), adopts=adopts)

    def joined(self, tail: int = 5, **given: Any) -> Joined:
        reply = self.join(tail, **given)
        assert isinstance(reply, Joined)
        return reply

    def know(self, **roots: bytes) -> None:
        """Let the server know these roots."""
        for letter, described in roots.items():
            self.fake.client.hset(self.keys.roots, f"root-{letter}", described)

    def awaited(self) -> set[str]:
        """Return who is awaited, which `meta` must agree with."""
        awaited = set(self.journal.awaited())
        assert (b"awaiting" in self.fake.meta()) is bool(awaited)
        return awaited


@pytest.fixture
def server(fake: Fake) -> Server:
    """A server, and a root that is as far as it is."""
    return Server(fake)


def test_a_root_that_is_as_far_as_the_server_changes_nothing(server: Server) -> None:
    """It learns who it is among, and is known from then on."""
    server.know(a=OPEN)
    reply = server.joined()
    assert reply[:5] == (QUEUE, EPOCH.encode(), b"", 5, 5)
    assert dict(zip(reply.roots[::2], reply.roots[1::2], strict=True)) == {
        A.encode(): OPEN,
        str(ROOT).encode(): OPEN,
    }
    assert server.fake.meta() == {
        b"epoch": EPOCH.encode(),
        b"queue_id": str(QUEUE).encode(),
        b"run_id": RUN_ID.encode(),
        b"token": b"7",
        b"roots": b"2",
        b"alone": b"",
    }
    assert server.awaited() == set()
    assert server.journal.last_id() == 5


def lose_all(server: Server) -> None:
    server.fake.client.flushall()


def lose_epoch(server: Server) -> None:
    server.fake.client.hdel(server.keys.meta, "epoch")


def lose_counter(server: Server) -> None:
    server.fake.client.delete(server.keys.next_event_id)


def lose_counter_and_publish(server: Server) -> None:
    lose_counter(server)
    server.journal.publish(EPOCH.encode(), b"aaaaaaaa.1", b"", 5, 5, [b"x"])


def set_counter_back(server: Server) -> None:
    server.fake.client.set(server.keys.next_event_id, 5)


def nothing(server: Server) -> None:
    pass


@pytest.mark.parametrize(
    ("happen", "tail", "is_new"),
    [
        (lose_all, 5, True),
        (lose_epoch, 5, True),
        (lose_counter, 5, True),
        (lose_counter, 0, True),
        (lose_counter_and_publish, 0, True),
        (set_counter_back, 5, True),
        (set_counter_back, 4, True),  # the journal is ahead of the counter, whoever joins
        (nothing, 6, True),  # being ahead means that the server has lost something
        (nothing, 5, False),
        (nothing, 3, False),
        (nothing, 0, False),
    ],
)
def test_the_epoch_changes_when_the_server_may_have_lost_something(
    server: Server, happen: Any, tail: int, is_new: bool
) -> None:
    """And only then; all that others may have to say is awaited, and no request of before is served."""
    server.know(b=CLOSED)
    happen(server)
    server.fake.client.hset(server.keys.meta, "void", "aaaaaaaa")
    reply = server.joined(tail, others=[A])
    assert (reply.epoch != EPOCH.encode()) is is_new
    meta = server.fake.meta()
    assert meta[b"epoch"] == reply.epoch
    assert (b"void" not in meta) is is_new
    assert server.awaited() == ({A} if is_new else set())
    if is_new:
        assert meta[b"run_id"] == b""
    again = server.joined(reply.last_id, others=[A])
    assert again.epoch == reply.epoch


def test_no_two_epochs_are_the_same(server: Server) -> None:
    """Or a root that was away would not notice."""
    epochs = set()
    for _ in range(20):
        lose_epoch(server)
        epochs.add(server.joined().epoch)
    assert len(epochs) == 20


def test_all_are_awaited_who_may_live(server: Server) -> None:
    """Known to the server, or remembered by who joins; but not who is closed or forgotten, nor who joins."""
    server.know(a=OPEN, b=CLOSED, d=b'{"closed":true,"forgotten":true}')
    lose_epoch(server)
    server.joined(others=[B, C, str(ROOT)])
    assert server.awaited() == {A, C}


def test_who_joins_is_awaited_no_more(server: Server) -> None:
    """With the last of them publishing goes on."""
    server.fake.client.sadd(server.keys.awaiting, str(ROOT), A)
    server.fake.begin_epoch(EPOCH, awaiting=1)
    server.joined()
    assert server.awaited() == {A}
    server.fake.client.srem(server.keys.awaiting, A)
    server.joined()
    assert server.awaited() == set()


@pytest.mark.parametrize(
    ("known", "forget", "was_known", "left"),
    [([A], [A], True, {C}), ([], [A], False, {C}), ([A, C], [A, C], True, set()), ([C], [A, C], True, set())],
)
def test_who_is_forgotten_is_awaited_no_more(
    server: Server, known: list[str], forget: list[str], was_known: bool, left: set[str]
) -> None:
    """A mark stays, so that the others forget it, too; it is no longer awaited in the next epoch."""
    for each in known:
        server.fake.client.hset(server.keys.roots, each, OPEN)
    server.fake.client.sadd(server.keys.awaiting, A, C)
    server.fake.begin_epoch(EPOCH, awaiting=1)
    assert server.journal.forget(forget) is was_known
    assert server.awaited() == left
    for mark in map(msgspec.json.decode, server.fake.client.hmget(server.keys.roots, forget)):
        assert abs(mark.pop("seen_at") - time.time()) < 30
        assert mark == {"closed": True, "forgotten": True}
    assert int(server.fake.meta()[b"roots"]) == server.fake.client.hlen(server.keys.roots)
    lose_epoch(server)
    server.joined(others=forget)
    assert not server.awaited() & set(forget)


DAY_SECONDS = 86_400.0


@pytest.mark.parametrize(
    ("described", "published_seconds_ago", "is_kept"),
    [
        (CLOSED, None, False),
        (CLOSED, DAY_SECONDS + 60, False),
        (CLOSED, DAY_SECONDS - 60, True),  # without saying how it is: what it has published may be asked for
        (OPEN, None, True),  # it has spoken since
    ],
)
def test_who_is_long_gone_is_taken_off_with_all_that_was_kept_of_it(
    server: Server, described: bytes, published_seconds_ago: float | None, is_kept: bool
) -> None:
    """And others are not; how many there are is right again."""
    server.know(a=described, b=CLOSED)
    published = {B: b"aaaaaaaa.1 3 7"}
    if published_seconds_ago is not None:
        published[A] = b"aaaaaaaa.1 5 %d" % ((time.time() - published_seconds_ago) * 1_000_000)
    server.fake.begin_epoch(EPOCH, **{f"last:{root}": done for root, done in published.items()})
    server.journal.expire([A.encode(), CLOSED], DAY_SECONDS)
    assert set(server.fake.client.hkeys(server.keys.roots)) == {B.encode()} | ({A.encode()} if is_kept else set())
    kept = {name for name in server.fake.meta() if name.startswith(b"last:")}
    assert kept == {f"last:{root}".encode() for root in published if root == B or is_kept}
    assert int(server.fake.meta()[b"roots"]) == 1 + is_kept


@pytest.mark.parametrize("tail", [0, 5, 9])
def test_another_queue_of_this_name_is_refused(server: Server, tail: int) -> None:
    """It is named; nothing is changed, not even what the server may have lost."""
    lose_epoch(server)
    before = server.fake.everything()
    assert server.join(tail, queue_id=OTHER_QUEUE) == Refused("foreign", str(QUEUE))
    assert server.fake.everything() == before


def test_an_empty_root_adopts_the_queue(server: Server) -> None:
    """Whose id it then has."""
    assert server.joined(0, queue_id=OTHER_QUEUE, adopts=True)[:5] == (QUEUE, EPOCH.encode(), b"", 5, 5)
    assert server.fake.meta()[b"queue_id"] == str(QUEUE).encode()


def test_on_a_server_that_is_new_the_queue_is_the_roots(server: Server) -> None:
    """The first one to come gives it its id, and as far as its log goes ids have been given out."""
    lose_all(server)
    reply = server.joined(5, queue_id=OTHER_QUEUE)
    assert (reply.queue_id, reply.last_id, reply.journaled_id) == (OTHER_QUEUE, 5, 0)
    assert server.fake.meta()[b"queue_id"] == str(OTHER_QUEUE).encode()
    assert server.join(queue_id=QUEUE) == Refused("foreign", str(OTHER_QUEUE))


@pytest.mark.parametrize(
    ("counter", "tail", "last_id", "is_unfilled"),
    [(6, 5, 5, False), (6, 3, 5, False), (6, 8, 8, True), (9, 5, 8, True), (2, 1, 5, False)],
)
def test_ids_go_on_behind_whoever_is_farthest(
    server: Server, counter: int, tail: int, last_id: int, is_unfilled: bool
) -> None:
    """Counter, journal or root; a journal that ends before is unfilled, and it is taken back when it does not."""
    server.fake.client.set(server.keys.next_event_id, counter)
    server.fake.client.hset(server.keys.meta, "unfilled", 1)
    reply = server.joined(tail)
    assert (reply.last_id, reply.journaled_id) == (last_id, 5)
    assert server.journal.last_id() == last_id
    assert (b"unfilled" in server.fake.meta()) is is_unfilled


@pytest.mark.parametrize(("last_token", "token"), [(0, b"7"), (6, b"7"), (8, b"8"), (2**53 - 1, b"%d" % (2**53 - 1))])
def test_tokens_go_on_behind_the_largest(server: Server, last_token: int, token: bytes) -> None:
    """The server's or the root's; a large one stays a whole number."""
    server.joined(last_token=last_token)
    assert server.fake.meta()[b"token"] == token


@pytest.mark.parametrize("is_new", [False, True])
def test_the_server_hears_which_sessions_are_void(server: Server, is_new: bool) -> None:
    """Once, behind those it knows; those of an epoch that is over need not be known."""
    server.fake.client.hset(server.keys.meta, "void", "aaaaaaaa")
    if is_new:
        lose_epoch(server)
    server.sessions.give_up(b"bbbbbbbb")
    server.sessions.give_up(b"cccccccc")
    server.joined()
    assert server.fake.meta()[b"void"].split() == [b"aaaaaaaa"] * (not is_new) + [b"bbbbbbbb", b"cccccccc"]
    assert server.sessions.void() == ()


def test_who_is_refused_has_told_nothing(server: Server) -> None:
    """Its sessions are told the next time."""
    server.sessions.give_up(b"bbbbbbbb")
    server.join(queue_id=OTHER_QUEUE)
    assert server.sessions.void() == ("bbbbbbbb",)
