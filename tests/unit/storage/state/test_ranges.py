"""Ranges of event ids against plain sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eventy_sync.storage.state.ranges import Range, united, without

ranges = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1])))


def ids(some: list[Range]) -> set[int]:
    """Return the ids in ranges."""
    return {each for first, last in some for each in range(first, last + 1)}


def assert_few_and_sorted(some: list[Range]) -> None:
    """Each begins at least two behind the end of the one before."""
    assert all(first <= last for first, last in some)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(some))


@given(ranges)
def test_united_ranges_have_the_same_ids(some: list[Range]) -> None:
    """In as few ranges as may be."""
    found = united(some)
    assert ids(found) == ids(some)
    assert_few_and_sorted(found)


@given(ranges, ranges)
def test_without_takes_out_what_is_removed_and_nothing_else(some: list[Range], removed: list[Range]) -> None:
    """Whatever touches, covers or misses what."""
    found = without(some, removed)
    assert ids(found) == ids(some) - ids(removed)
    assert_few_and_sorted(found)
