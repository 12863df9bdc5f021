"""Putting events back into the journal, and reading it; fill.lua."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from eventy_sync.redis import journal as module
from eventy_sync.redis.journal import Journal
from eventy_sync.redis.sessions import Sessions
from eventy_sync.storage.log import Entry
from tests.unit.redis.conftest import Fake

EPOCH = b"e1"


def entries(first_id: int, last_id: int, part: bytes = b"") -> list[Entry]:
    """Return events as they are in a log."""
    return [Entry(number, 1000 + number, b"p%d%b" % (number, part)) for number in range(first_id, last_id + 1)]


@pytest.fixture
def journal(fake: Fake) -> Journal:
    """A journal whose server has given out ten ids and lost everything else."""
    fake.begin_epoch(EPOCH.decode(), unfilled=1)
    fake.client.set(fake.keys.next_event_id, 11)
    return Journal(fake.keys, UUID(int=1), UUID(int=2), 1000, fake.link, fake.link, Sessions())


def put(fake: Fake, some: Sequence[Entry]) -> None:
    """Let the server have these."""
    for each in some:
        fake.client.xadd(fake.keys.journal, {"a": each.at, "f": each.payload_fields}, id=f"{each.id}-0")


def read(journal: Journal, tail: int = 0) -> list[Entry]:
    return [each for page in journal.entries_from(tail) for each in page]


@pytest.mark.parametrize(
    ("there", "given", "ends_at", "after"),
    [
        ([], entries(1, 10), 10, entries(1, 10)),
        ([], entries(4, 10), 10, entries(4, 10)),  # it need not begin at 1
        (entries(1, 4), entries(5, 10), 10, entries(1, 10)),
        (entries(1, 4), entries(3, 10, b"!"), 10, [*entries(1, 4), *entries(5, 10, b"!")]),  # what is there stays
        (entries(1, 4), entries(5, 7), 7, entries(1, 7)),
        (entries(1, 4), entries(6, 10), 4, entries(1, 4)),  # no hole
        (entries(1, 10), entries(1, 10, b"!"), 10, entries(1, 10)),
        ([], entries(8, 14), 10, entries(8, 10)),  # an id that was not given out is nobody's yet
        ([], entries(11, 14), 0, []),
    ],
)
def test_events_are_put_back_at_the_end(
    fake: Fake, journal: Journal, there: list[Entry], given: list[Entry], ends_at: int, after: list[Entry]
) -> None:
    """Contiguous, up to the id given out last; until it ends there the journal is unfilled."""
    put(fake, there)
    assert journal.fill(EPOCH, given, anew=False) == ends_at
    assert read(journal) == after
    meta = fake.meta()
    assert (b"unfilled" in meta) is (ends_at != 10)
    added = after[len(there) :]
    assert meta.get(b"last_at") == (b"%d" % added[-1].at if added else None)
    assert fake.published() == []


def test_a_journal_that_has_gone_another_way_is_filled_anew(fake: Fake, journal: Journal) -> None:
    """Nothing of it is left."""
    put(fake, entries(1, 10, b"!"))
    assert journal.fill(EPOCH, entries(3, 8), anew=True) == 8
    assert read(journal) == entries(3, 8)
    assert b"unfilled" in fake.meta()
    assert journal.fill(EPOCH, entries(9, 10), anew=False) == 10
    assert read(journal) == entries(3, 10)
    assert b"unfilled" not in fake.meta()


@pytest.mark.parametrize("anew", [False, True])
def test_in_another_epoch_nothing_is_filled(fake: Fake, journal: Journal, anew: bool) -> None:
    """Nor emptied."""
    put(fake, entries(1, 4))
    before = fake.everything()
    assert journal.fill(b"e0", entries(5, 10), anew=anew) == -1
    assert fake.everything() == before


def test_large_ids_and_times_stay_whole(fake: Fake, journal: Journal) -> None:
    """Lua's numbers would be written with an exponent."""
    last_id, at = 10**15, 4_000_000_000_000_001
    fake.client.set(fake.keys.next_event_id, last_id + 1)
    given = [Entry(last_id - 1, at, b"x"), Entry(last_id, at + 1, b"y")]
    assert journal.fill(EPOCH, given, anew=False) == last_id
    assert read(journal) == given
    assert fake.meta()[b"last_at"] == b"%d" % (at + 1)


@pytest.mark.parametrize("page", [2, 3, 9, 10, 11])
@pytest.mark.parametrize("tail", [0, 1, 2, 9, 10])
def test_what_is_behind_a_tail_is_read_page_by_page(
    fake: Fake, journal: Journal, monkeypatch: pytest.MonkeyPatch, page: int, tail: int
) -> None:
    """All of it once, and the tail itself, whatever the size of a page; no page is empty."""
    monkeypatch.setattr(module, "PAGE_ENTRIES", page)
    put(fake, entries(1, 10))
    pages = list(journal.entries_from(tail))
    assert [each for some in pages for each in some] == entries(max(tail, 1), 10)
    assert all(pages)


@pytest.mark.parametrize("size_bytes", [1000, 100_000, 3_000_000])
def test_a_page_is_bounded_in_bytes(fake: Fake, journal: Journal, size_bytes: int) -> None:
    """But for a few entries: each may be larger than a page.  Small ones come before large ones here."""
    given = [*entries(1, 500), *entries(501, 540, b"x" * size_bytes)]
    put(fake, given)
    pages = list(journal.entries_from(0))
    assert [each for some in pages for each in some] == given
    for page in pages:
        assert sum(len(each.payload_fields) for each in page) <= module.PAGE_BYTES + 4 * (size_bytes + 10)


def test_a_journal_that_begins_later_is_read_from_there(fake: Fake, journal: Journal) -> None:
    """Whoever reads sees that there is a hole."""
    put(fake, entries(5, 10))
    assert read(journal, 2) == entries(5, 10)
    assert read(journal, 12) == []


def test_a_journal_of_which_nobody_has_the_end_begins_behind_it(fake: Fake, journal: Journal) -> None:
    """It is empty then, and filled: ids go on behind the last one given out, and only there."""
    put(fake, entries(1, 3))
    fake.client.set(fake.keys.next_event_id, 7)
    journal.begin_behind(EPOCH, 5)
    assert b"unfilled" in fake.meta()
    journal.begin_behind(EPOCH, 6)
    assert b"unfilled" not in fake.meta()
    assert read(journal) == []


def test_one_event_is_found_by_its_id(fake: Fake, journal: Journal) -> None:
    """Or is not there."""
    put(fake, entries(2, 3))
    assert [journal.entry(number) for number in (1, 2, 3, 4)] == [None, *entries(2, 3), None]


def test_what_is_known_of_a_server_that_is_new(fake: Fake, journal: Journal) -> None:
    """Nothing was given out, no epoch has begun, nobody is awaited."""
    fake.client.flushall()
    assert (journal.last_id(), journal.epoch(), journal.awaited(), read(journal)) == (0, None, [], [])


def test_tokens_of_requests_come_once_and_name_their_session(journal: Journal) -> None:
    """Given up, a session has no more of them."""
    tokens = [journal.token() for _ in range(3)]
    session = tokens[0][:8]
    assert [each.partition(b".")[0] for each in tokens] == [session] * 3
    journal.give_up_session()
    tokens.append(journal.token())
    assert tokens[-1][:8] != session
    assert len(set(tokens)) == 4
