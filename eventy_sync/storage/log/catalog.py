"""Which segments there are: a listing of the directory, kept until something says it has changed."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

from eventy_sync.storage.files import storage_errors
from eventy_sync.storage.log.layout import list_segments


class Catalog:
    """The first ids of a log's segments, in order.  Thread safe: a refresh replaces the whole list."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.first_ids: list[int] = []

    def refresh(self) -> list[int]:
        """List the directory again."""
        with storage_errors("list", self._directory):
            self.first_ids = list_segments(self._directory)
        return self.first_ids

    def newer_than(self, first_id: int, *, refresh: bool = False) -> int | None:
        """Return the first id of the next segment, or None if this is the last one known."""
        first_ids = self.refresh() if refresh else self.first_ids
        place = bisect_right(first_ids, first_id)
        return first_ids[place] if place < len(first_ids) else None

    def holding(self, event_id: int) -> int | None:
        """Return the first id of the segment where this event is, if it is anywhere."""
        first_ids = self.first_ids
        place = bisect_right(first_ids, event_id)
        return first_ids[place - 1] if place else None
