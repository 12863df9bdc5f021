"""Giving out ids and journaling, in one step; publish.lua: each refusal, each repetition, what a root is missing."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest

from eventy_sync.redis.journal import Journal, Published, Refused
from eventy_sync.redis.messages import AddEvent
from eventy_sync.redis.sessions import Sessions
from eventy_sync.storage.log import Entry, KeyedPublish, Marks, fields
from tests.unit.redis.conftest import Fake

ROOT, OTHER_ROOT, WORKER = (UUID(int=number) for number in range(1, 4))
EPOCH = "e1"
MAX_MISSING, MAX_MISSING_BYTES = 200, 4 * 1024 * 1024  # of publish.lua
AT = 1_000_000  # of the events that are in the journal already
NOW_MICROSECONDS = time.time() * 1_000_000


class Server:
    """A server that has given out some ids, and roots that publish there."""

    def __init__(self, fake: Fake) -> None:
        self.fake, self.sessions = fake, Sessions()
        self.journal = self.journal_of(ROOT)
        self.other = self.journal_of(OTHER_ROOT)
        fake.begin_epoch(EPOCH, roots=2)

    def journal_of(self, root_id: UUID, length: int = 1000) -> Journal:
        return Journal(self.fake.keys, root_id, WORKER, length, self.fake.link, self.fake.link, self.sessions)

    def begin_at(self, last_id: int, first_id: int = 1, **meta: Any) -> None:
        """Let the journal have these events, each a microsecond after the one before."""
        keys = self.fake.keys
        for number in range(first_id, last_id + 1):
            self.fake.client.xadd(keys.journal, {"a": AT + number, "f": f"p{number}"}, id=f"{number}-0")
        self.fake.client.set(keys.next_event_id, last_id + 1)
        self.fake.begin_epoch(EPOCH, last_at=AT + last_id, **meta)

    def publish(self, tail: int, tail_at: int, *payload_fields: bytes, **given: Any) -> Published | Refused:
        journal = given.get("journal", self.journal)
        token = given.get("token") or journal.token()
        epoch, lost = given.get("epoch", EPOCH.encode()), given.get("lost", b"")
        reply: Published | Refused = journal.publish(epoch, token, lost, tail, tail_at, payload_fields or (b"new",))
        return reply

    def entries(self) -> list[tuple[int, bytes]]:
        """Return ids and payload fields in the journal."""
        found = self.fake.client.xrange(self.fake.keys.journal)
        return [(int(name.partition(b"-")[0]), fields[b"f"]) for name, fields in found]

    def next_id(self) -> int | None:
        value = self.fake.client.get(self.fake.keys.next_event_id)
        return None if value is None else int(value)


@pytest.fixture
def server(fake: Fake) -> Server:
    """Five events, of 1 to 5."""
    made = Server(fake)
    made.begin_at(5)
    return made


def test_a_batch_gets_ids_that_run_on(server: Server) -> None:
    """All journaled under one time, which is the server's; the message names the last one."""
    reply = server.publish(5, AT + 5, b"a", b"", b"\x00\r\n")
    assert isinstance(reply, Published)
    assert (reply.first_id, reply.roots, reply.missing) == (6, 2, [])
    assert abs(reply.at - NOW_MICROSECONDS) < 600_000_000
    assert server.entries()[5:] == [(6, b"a"), (7, b""), (8, b"\x00\r\n")]
    assert [server.journal.entry(number) for number in (6, 8)] == [
        Entry(6, reply.at, b"a"),
        Entry(8, reply.at, b"\x00\r\n"),
    ]
    assert server.next_id() == 9
    assert server.fake.meta()[b"last_at"] == b"%d" % reply.at
    assert server.fake.published() == [AddEvent(str(WORKER), str(ROOT), 8)]


def test_the_first_event_of_all_is_event_1(fake: Fake) -> None:
    """On a server that was joined and has nothing yet; how many roots there are need not be known."""
    server = Server(fake)
    fake.client.set(fake.keys.next_event_id, 1)
    fake.client.hdel(fake.keys.meta, "roots")
    reply = server.publish(0, 0)
    assert isinstance(reply, Published)
    assert (reply.first_id, reply.roots) == (1, 0)
    assert server.next_id() == 2


@pytest.mark.parametrize(
    ("last_at", "tail_at"), [(True, 0), (False, 4_000_000_000_000_000), (True, 4_000_000_000_000_000)]
)
def test_time_never_goes_back(server: Server, last_at: bool, tail_at: int) -> None:
    """Neither behind the last event in Redis nor, where that was lost, behind the root's own."""
    late = 4_000_000_000_000_000
    if last_at:
        server.fake.begin_epoch(EPOCH, last_at=late)
    else:
        server.fake.client.hdel(server.fake.keys.meta, "last_at")
    reply = server.publish(5, tail_at)
    assert isinstance(reply, Published)
    assert reply.at == late


REFUSED: dict[str, tuple[dict[str, Any], int, int, dict[str, Any], str]] = {
    "an epoch that is over": ({}, 5, AT + 5, {"epoch": b"e0"}, "rejoin"),
    "a journal that is being filled": ({"unfilled": 1}, 5, AT + 5, {}, "rejoin"),
    "roots that are awaited": ({"awaiting": 1}, 5, AT + 5, {}, "awaiting"),
    "a session that was given up": ({"void": "deadbeef"}, 5, AT + 5, {"token": b"deadbeef.1"}, "rejoin"),
    "one of several sessions": ({"void": " aaaaaaaa deadbeef"}, 5, AT + 5, {"token": b"deadbeef.7"}, "rejoin"),
    "another last event": ({}, 5, AT + 6, {}, "rejoin"),
    "another event before": ({}, 3, AT + 1, {}, "rejoin"),
    "a counter that was lost": ({}, 6, AT + 6, {}, "rejoin"),
    "a counter that was lost, and a time that is not known": ({}, 9, 0, {}, "rejoin"),
}


@pytest.mark.parametrize(("meta", "tail", "tail_at", "given", "reason"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("count", [1, 3])
def test_a_refusal_leaves_everything_as_it_was(
    server: Server, meta: dict[str, Any], tail: int, tail_at: int, given: dict[str, Any], reason: str, count: int
) -> None:
    """The counter, too: no id is ever left out.  Nobody is woken."""
    server.fake.begin_epoch(EPOCH, **meta)
    before = server.fake.everything()
    assert server.publish(tail, tail_at, *[b"x"] * count, **given) == Refused(reason)
    assert server.fake.everything() == before
    assert server.fake.published() == []


def test_on_a_server_that_is_new_nothing_is_published(fake: Fake) -> None:
    """It has no epoch, so whoever publishes has to join."""
    server = Server(fake)
    fake.client.flushall()
    assert server.publish(5, AT + 5) == Refused("rejoin")
    assert fake.everything() == {}


@pytest.mark.parametrize("tail", [0, 1, 5])
def test_a_counter_that_is_not_there_gives_nothing_out(server: Server, tail: int) -> None:
    """The server has lost it; it is not begun anew behind the roots' backs, and who joins sees that it is wrong."""
    server.fake.client.delete(server.fake.keys.next_event_id)
    assert server.publish(tail, 0) == Refused("rejoin")
    assert server.next_id() == 0
    assert len(server.entries()) == 5


def test_a_time_that_is_not_known_is_no_difference(server: Server) -> None:
    """Of a root whose last event is in a segment before."""
    assert isinstance(server.publish(5, 0), Published)
    assert isinstance(server.publish(2, 0), Published)


# -- what the root is missing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tail", "tail_at"), [(0, 0), (1, AT + 1), (3, AT + 3), (3, 0), (4, AT + 4)])
def test_what_the_root_is_missing_comes_back(server: Server, tail: int, tail_at: int) -> None:
    """In order, up to its own events, not including them."""
    reply = server.publish(tail, tail_at)
    assert isinstance(reply, Published)
    assert reply.first_id == 6
    assert reply.missing == [Entry(number, AT + number, b"p%d" % number) for number in range(tail + 1, 6)]


@pytest.mark.parametrize(("missing", "is_published"), [(MAX_MISSING, True), (MAX_MISSING + 1, False)])
def test_who_is_missing_too_many_has_to_catch_up_first(fake: Fake, missing: int, is_published: bool) -> None:
    """So that a reply has a bounded size."""
    server = Server(fake)
    server.begin_at(missing + 2)
    before = server.next_id()
    reply = server.publish(2, AT + 2)
    if is_published:
        assert isinstance(reply, Published)
        assert len(reply.missing) == missing
    else:
        assert reply == Refused("behind")
        assert server.next_id() == before


@pytest.mark.parametrize(
    ("missing", "size_bytes", "is_published"),
    [(3, MAX_MISSING_BYTES, True), (5, MAX_MISSING_BYTES, False), (40, 100_000, True), (50, 100_000, False)],
)
@pytest.mark.parametrize("tail", [0, 1, 5])
def test_who_is_missing_too_many_bytes_has_to_catch_up_first(
    fake: Fake, missing: int, size_bytes: int, is_published: bool, tail: int
) -> None:
    """A few entries come back however large they are, or two roots that publish large events would never be even."""
    server = Server(fake)
    server.begin_at(tail)
    for number in range(tail + 1, tail + missing + 1):
        fake.client.xadd(fake.keys.journal, {"a": AT + number, "f": b"x" * size_bytes}, id=f"{number}-0")
    fake.client.set(fake.keys.next_event_id, tail + missing + 1)
    before = fake.everything()
    reply = server.publish(tail, AT + tail if tail else 0)
    if is_published:
        assert isinstance(reply, Published)
        assert [each.id for each in reply.missing] == list(range(tail + 1, tail + missing + 1))
        assert all(len(each.payload_fields) == size_bytes for each in reply.missing)
    else:
        assert reply == Refused("behind")
        assert fake.everything() == before


@pytest.mark.parametrize(
    ("first_id", "tail", "is_published"), [(4, 1, False), (4, 2, False), (4, 3, True), (4, 0, False)]
)
def test_who_is_missing_what_the_journal_has_no_more_is_behind(
    fake: Fake, first_id: int, tail: int, is_published: bool
) -> None:
    """Nothing is given out, or the hole would stay."""
    server = Server(fake)
    server.begin_at(8, first_id=first_id)
    before = fake.everything()
    reply = server.publish(tail, AT + tail if tail else 0)
    if is_published:
        assert isinstance(reply, Published)
        assert [each.id for each in reply.missing] == [4, 5, 6, 7, 8]
    else:
        assert reply == Refused("behind")
        assert fake.everything() == before


def test_the_journal_has_a_bounded_length(fake: Fake) -> None:
    """About so many of the last events."""
    server = Server(fake)
    fake.client.set(fake.keys.next_event_id, 1)
    journal = server.journal_of(ROOT, length=10)
    tail, tail_at = 0, 0
    for _ in range(400):
        reply = server.publish(tail, tail_at, journal=journal)
        assert isinstance(reply, Published)
        tail, tail_at = reply.first_id, reply.at
    assert server.entries()[-1][0] == 400
    assert 10 <= len(server.entries()) < 400


# -- replies that were lost ------------------------------------------------------------------------------------


def test_a_request_whose_reply_was_lost_is_served_once(server: Server) -> None:
    """Asking again, in a new session, brings the same ids and the same time, also after others have published."""
    lost = server.journal.token()
    first = server.publish(5, AT + 5, b"a", b"b", token=lost)
    assert isinstance(first, Published)
    assert isinstance(server.publish(7, first.at, b"c", journal=server.other), Published)
    server.fake.published()
    server.journal.give_up_session()
    for _ in range(2):
        assert server.publish(5, AT + 5, b"a", b"b", lost=lost) == first
    assert [payload for _, payload in server.entries()[5:]] == [b"a", b"b", b"c"]
    assert server.next_id() == 9
    assert server.fake.published() == []


def test_what_came_before_a_request_whose_reply_was_lost_comes_back_with_it(server: Server) -> None:
    """As it would have the first time."""
    lost = server.journal.token()
    first = server.publish(3, AT + 3, token=lost)
    server.journal.give_up_session()
    again = server.publish(3, AT + 3, lost=lost)
    assert isinstance(again, Published)
    assert again == first
    assert [each.id for each in again.missing] == [4, 5]


def test_a_request_that_was_never_served_is_served_now(server: Server) -> None:
    """And not once more should it arrive late: its session is void."""
    late = server.journal.token()
    server.journal.give_up_session()
    reply = server.publish(5, AT + 5, lost=late)
    assert isinstance(reply, Published)
    assert reply.first_id == 6
    before = server.fake.everything()
    assert server.publish(6, reply.at, b"late", token=late) == Refused("rejoin")
    assert server.fake.everything() == before


@pytest.mark.parametrize("lost", [b"aaaaaaaa.1", b"bbbbbbbb.1"])
def test_the_last_request_of_another_root_is_not_taken_for_ones_own(server: Server, lost: bytes) -> None:
    """Each root's is kept apart; of tokens, one that begins as another is not it."""
    assert isinstance(server.publish(5, 0, journal=server.other, token=b"aaaaaaaa.1"), Published)
    assert isinstance(server.publish(6, 0, token=b"bbbbbbbb.11"), Published)
    reply = server.publish(7, 0, lost=lost)
    assert isinstance(reply, Published)
    assert reply.first_id == 8


def test_a_lost_reply_is_found_again_while_roots_are_awaited(server: Server) -> None:
    """Nothing new is given out then, but what was given out is known."""
    lost = server.journal.token()
    first = server.publish(5, AT + 5, token=lost)
    server.fake.begin_epoch(EPOCH, awaiting=1)
    server.journal.give_up_session()
    assert server.publish(5, AT + 5, lost=lost) == first
    assert server.publish(5, AT + 5, lost=b"eeeeeeee.1") == Refused("awaiting")


def test_sessions_that_are_void_do_not_fill_the_memory(server: Server) -> None:
    """Only the last ones are kept, the newest among them."""
    server.fake.begin_epoch(EPOCH, void=" aaaaaaaa" * 500)
    server.publish(5, AT + 5, lost=b"deadbeef.1")
    void = server.fake.meta()[b"void"]
    assert len(void) <= 2000
    assert void.endswith(b" deadbeef")


# -- keys -------------------------------------------------------------------------------------------------------------


def keyed(key: str = "a", window: int = 60_000_000, void_id: int = 0) -> KeyedPublish:
    """One event to be published under a key, by a root whose log knows of none."""
    never: Any = None  # the script is asked, not the log
    made = KeyedPublish(key, window, marked(key, window), book=never, get=never, clock=never)
    made.void_id = void_id
    return made


def marked(key: str = "a", window: int = 60_000_000) -> bytes:
    return fields(b"1", "json", Marks(key, window))


def publish_keyed(server: Server, tail: int, request: KeyedPublish, **given: Any) -> Published | Refused:
    journal, lost = given.get("journal", server.journal), given.get("lost", b"")
    token = given.get("token") or journal.token()
    tail_at = given.get("tail_at", 0)
    reply: Published | Refused = journal.publish(
        EPOCH.encode(), token, lost, tail, tail_at, [request.payload_fields], keyed=request
    )
    return reply


def test_a_key_is_taken_by_the_event_that_gets_an_id_with_it(server: Server) -> None:
    """For its window, in milliseconds rounded up; a repeat of another root is refused and takes no id."""
    reply = publish_keyed(server, 5, keyed(window=60_000_001))
    assert isinstance(reply, Published)
    assert reply.first_id == 6
    name = server.fake.keys.event_key("a")
    assert server.fake.client.get(name) == b"6"
    assert 59_000 < server.fake.client.pttl(name) <= 60_001
    assert server.entries()[-1] == (6, marked(window=60_000_001))
    before = server.fake.everything()
    assert publish_keyed(server, 2, keyed(), journal=server.other) == Refused("taken", "6")
    assert publish_keyed(server, 6, keyed(), journal=server.journal) == Refused("taken", "6")
    assert server.fake.everything() == before
    assert isinstance(publish_keyed(server, 6, keyed("b")), Published)


def test_an_event_that_does_not_count_gives_its_key_away(server: Server) -> None:
    """Whoever asks has looked: it is gone, or another one."""
    server.fake.client.set(server.fake.keys.event_key("a"), "3")
    assert publish_keyed(server, 5, keyed()) == Refused("taken", "3")
    assert isinstance(publish_keyed(server, 5, keyed(void_id=3)), Published)
    assert server.fake.client.get(server.fake.keys.event_key("a")) == b"6"


@pytest.mark.parametrize("held", ["", "0", "-1", "07", "6 7", "x", "1e5", "9" * 17])
def test_what_is_no_event_holds_no_key(server: Server, held: str) -> None:
    """It is overwritten."""
    server.fake.client.set(server.fake.keys.event_key("a"), held)
    assert isinstance(publish_keyed(server, 5, keyed()), Published)
    assert server.fake.client.get(server.fake.keys.event_key("a")) == b"6"


def test_a_key_is_found_among_the_events_that_the_root_is_missing(server: Server) -> None:
    """The newest one; not those whose window is over, that have another key or do not count; no id is given out."""
    now = int(time.time() * 1_000_000)
    server.fake.begin_epoch(EPOCH, last_at=now)
    far = 20 * 365 * 86_400_000_000  # the server's clock of these tests may be another
    for number, (at, text) in enumerate(
        [
            (now + far, marked()),
            (1, marked()),
            (now + far, marked("ab")),
            (now + far, b'"payload":' + marked()),
            (now + far, b'"key":"a","payload":1'),
            (now + far, b""),
        ],
        6,
    ):
        server.fake.client.xadd(server.fake.keys.journal, {"a": at, "f": text}, id=f"{number}-0")
    server.fake.client.set(server.fake.keys.next_event_id, 12)
    before = server.fake.everything()
    assert publish_keyed(server, 5, keyed(), tail_at=AT + 5) == Refused("taken", "6")
    assert server.fake.everything() == before
    reply = publish_keyed(server, 5, keyed(void_id=6))
    assert isinstance(reply, Published)
    assert (reply.first_id, len(reply.missing)) == (12, 6)


def test_a_keyed_request_that_was_served_brings_its_id_again(server: Server) -> None:
    """Its own event does not stand in its way; nor does it when the request is asked for by a root that is behind."""
    token = server.journal.token()
    first = publish_keyed(server, 5, keyed(), token=token)
    assert isinstance(first, Published)
    again = publish_keyed(server, 4, keyed(), lost=token)
    assert isinstance(again, Published)
    assert (again.first_id, again.at) == (first.first_id, first.at)
    assert [entry.id for entry in again.missing] == [5]
    assert server.next_id() == 7


def test_a_keyed_request_that_was_never_served_is_not_served_late(server: Server) -> None:
    """Another root has taken the key meanwhile."""
    token = server.journal.token()
    other = publish_keyed(server, 5, keyed(), journal=server.other)
    assert isinstance(other, Published)
    assert publish_keyed(server, 5, keyed(), lost=token) == Refused("taken", "6")
    assert publish_keyed(server, 6, keyed("b"), token=token) == Refused("rejoin")
