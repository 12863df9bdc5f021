"""Sets of event ids as ranges: few, sorted, apart from each other, both ends included."""

from __future__ import annotations

from collections.abc import Iterable

Range = tuple[int, int]


def united(ranges: Iterable[Range]) -> list[Range]:
    """Return the same ids in as few ranges as may be."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def without(ranges: Iterable[Range], removed: Iterable[Range]) -> list[Range]:
    """Return the ids of `ranges` that are in none of `removed`."""
    gone = united(removed)
    left: list[Range] = []
    for first, last in united(ranges):
        for gone_first, gone_last in gone:
            if gone_last < first or gone_first > last:
                continue
            if gone_first > first:
                left.append((first, gone_first - 1))
            first = gone_last + 1
        if first <= last:
            left.append((first, last))
    return left
