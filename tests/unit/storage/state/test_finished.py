"""Finished ranges: united as they come, few rows whatever their order."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from eventy_sync.storage.state.connection import Connection
from eventy_sync.storage.state.finished import add_finished, finished_ranges, is_finished
from eventy_sync.storage.state.ranges import united

RANGES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)).map(lambda pair: (pair[0], pair[0] + pair[1])))


@settings(deadline=None)
@given(RANGES)
def test_they_are_the_union_of_what_was_added(tmp_path_factory: object, ranges: list[tuple[int, int]]) -> None:
    """In as few rows as may be."""
    path: Path = tmp_path_factory.mktemp("state") / "state.db"  # type: ignore[attr-defined]
    connection = Connection(path, sync_every_commit=False)
    with connection.transaction() as database:
        add_finished(database, "another", [(1, 100)])
        for each in ranges:
            add_finished(database, "group", [each])
        assert finished_ranges(database, "group") == united(ranges)
        known = {event_id for first_id, last_id in ranges for event_id in range(first_id, last_id + 1)}
        assert {each for each in range(60) if is_finished(database, "group", each)} == known
    connection.close()
