"""The names of a log's files: the one place that builds and parses them.

::

    orders/
      .lock                             held for every append; never deleted
      events/00000000000000000001.log   a segment, named by the id of its first event
      events/….log.<n>.broken           bytes that were cut off a torn end, or quarantined by repair
"""

from __future__ import annotations

import os
import re
from pathlib import Path

EVENTS_DIRECTORY = "events"
LOCK_FILE = ".lock"
_SEGMENT_NAME = re.compile(r"(\d{20})\.log")


def segment_name(first_id: int) -> str:
    """Return the file name of the segment whose first event has this id."""
    return f"{first_id:020d}.log"


def first_id_of(name: str) -> int | None:
    """Return the id a segment's name stands for, or None if it is no segment's name."""
    match = _SEGMENT_NAME.fullmatch(name)
    return int(match[1]) if match else None


def list_segments(directory: Path) -> list[int]:
    """Return the first ids of all segments in this directory, in order."""
    ids = (first_id_of(name) for name in os.listdir(directory))
    return sorted(first_id for first_id in ids if first_id is not None)


def broken_path(segment: Path) -> Path:
    """Return a name beside this segment that is still free, for bytes taken out of it."""
    number = 1
    while (path := segment.with_name(f"{segment.name}.{number}.broken")).exists():
        number += 1
    return path
