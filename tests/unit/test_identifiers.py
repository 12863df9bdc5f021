"""Ids of results and subscriptions: UUIDs of version 7, in the order they were made."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from eventy_sync import identifiers
from eventy_sync.identifiers import floor_id, milliseconds, new_id, new_ids


def test_ids_are_version_7_and_grow() -> None:
    """Each is greater than the one before, also within a millisecond."""
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}


def test_threads_never_get_the_same_id() -> None:
    """Eight threads, all different."""
    made: list[UUID] = []
    threads = [threading.Thread(target=lambda: made.extend([new_id() for _ in range(2000)])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 16_000


def test_a_forked_child_makes_other_ids_than_its_parent() -> None:
    """The child does not go on where the parent was."""
    new_id()
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writing, b"".join(new_id().bytes for _ in range(100)))
        os._exit(0)
    os.close(writing)
    mine = {new_id().bytes for _ in range(100)}
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    theirs = {data[start : start + 16] for start in range(0, len(data), 16)}
    assert len(theirs) == 100
    assert not mine & theirs


def test_many_ids_in_a_row_are_nobody_elses() -> None:
    """Whole numbers that follow each other, all of them ids like others, in their place between those."""
    before = new_id()
    first = new_ids(500)
    row = [UUID(int=first.int + number) for number in range(500)]
    after = new_id()
    assert before < row[0]
    assert row[-1] < after
    assert {(each.version, each.variant) for each in row} == {(7, "specified in RFC 4122")}
    at = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
    assert floor_id(milliseconds(at)) <= new_ids(3, milliseconds(at)) < floor_id(milliseconds(at) + 1)


def test_threads_never_share_ids_in_a_row() -> None:
    """Eight threads, rows and single ones by turns."""
    made: list[int] = []

    def make() -> None:
        for _ in range(300):
            first = new_ids(7).int
            made.extend([*range(first, first + 7), new_id().int])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == len(made) == 8 * 300 * 8


def test_ids_in_a_row_never_run_into_the_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the low bits would overflow, the row begins behind that."""
    monkeypatch.setattr(identifiers._sequence, "_millisecond", 1)
    monkeypatch.setattr(identifiers._sequence, "_count", (5 << 62) + (1 << 62) - 4)
    first = new_ids(10, 1)
    row = [UUID(int=first.int + number) for number in range(10)]
    assert {(each.version, each.variant) for each in row} == {(7, "specified in RFC 4122")}
    assert row == sorted(row)
    assert row[-1] < new_ids(1, 1)


def test_the_floor_of_a_time_parts_ids_before_from_ids_after() -> None:
    """Ids made at a time are at its floor or above, and below that of the next millisecond."""
    at = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
    made = new_id(at)
    assert floor_id(milliseconds(at)) <= made < floor_id(milliseconds(at) + 1)
    assert floor_id(milliseconds(at - timedelta(days=1))) < made


def test_a_clock_that_steps_back_repeats_no_id() -> None:
    """A random start in each millisecond keeps them apart."""
    late = new_id(datetime(2101, 1, 1, tzinfo=timezone.utc))
    assert new_id(datetime(2100, 1, 1, tzinfo=timezone.utc)) != late
