"""Verify and repair: what a person runs when something is wrong with the disk.

`verify` reads everything and changes nothing.  `repair` moves the damaged bytes of a segment into a
``.broken`` file beside it and puts a gap record in their place; events that are lost stay lost, and
their ids are never given out again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from eventy_sync.errors import CorruptRecordError
from eventy_sync.storage.files import storage_errors, write_whole
from eventy_sync.storage.log.event_log import EventLog
from eventy_sync.storage.log.layout import broken_path, first_id_of
from eventy_sync.storage.log.reader import Item
from eventy_sync.storage.log.record import BadRecordError, StoredRecord, build, gap_fields, parse
from eventy_sync.storage.log.segment import Segment, lines
from eventy_sync.storage.log.view import LogView

logger = logging.getLogger(__name__)

_READ_AT_ONCE = 1000


@dataclass
class Verification:
    """What a walk over the whole log found.

    `torn_bytes` is what a dead writer left at the end; it is harmless.  `gaps` are events of which the log says itself
    that they are lost: repaired damage, or what no root had.
    """

    events: int = 0
    segments: int = 0
    size_bytes: int = 0
    torn_bytes: int = 0
    gaps: int = 0
    damages: list[CorruptRecordError] = field(default_factory=list)


def verify(log: LogView) -> Verification:
    """Read every record of the log as it is now.

    Raises:
        StorageError: a file cannot be opened or read.
    """
    segments = log.summaries()
    found = Verification(segments=len(segments), size_bytes=log.size_bytes())
    expected, tail = log.oldest(), log.tail()
    for item in _walk(log, tail):
        if isinstance(item, StoredRecord):
            found.gaps += max(0, item.id - expected)
            found.events += 1
        else:
            found.gaps += max(0, item.first_id - expected)
            found.damages.append(item)
        expected = item.last_id + 1
    found.gaps += max(0, tail + 1 - expected)
    if segments:
        with storage_errors("read", log.directory), Segment(log.directory, segments[-1].first_id) as active:
            end = active.end()
            found.torn_bytes = 0 if end.sealed else active.size - end.position
    return found


def _walk(log: LogView, tail: int) -> Iterator[Item]:
    reader = log.reader(log.oldest())
    try:
        while reader.next_id <= tail and (items := reader.read(_READ_AT_ONCE)):
            yield from items
    finally:
        reader.close()


def repair(log: EventLog) -> Verification:
    """Quarantine what `verify` finds, and return it.

    Raises:
        StorageError: the disk refused; what was repaired by then is repaired whole.
    """
    found = verify(log)
    if found.damages:
        with log.exclusive():
            for name in sorted({damage.segment for damage in found.damages}):
                _repair_segment(log, name, [each for each in found.damages if each.segment == name])
    return found


def _repair_segment(log: EventLog, name: str, damages: list[CorruptRecordError]) -> None:
    """Write the segment anew: good lines as they are, a gap record for each damage."""
    path = log.directory / name
    good, bad = _split(log, name) if path.exists() else ([], b"")
    at = good[0][0].at if good else 0
    kept = [(record.id, line) for record, line in good]
    kept += [(each.first_id, build(each.first_id, at, gap_fields(each.last_id))) for each in damages]
    if bad:
        write_whole(broken_path(path), bad)
    write_whole(path, b"".join(line for _, line in sorted(kept)) + b"\n")
    logger.warning("segment repaired: segment=%s damages=%d quarantined_bytes=%d", name, len(damages), len(bad))


def _split(log: EventLog, name: str) -> tuple[list[tuple[StoredRecord, bytes]], bytes]:
    """Return a segment's good lines with their records, and all other bytes."""
    first_id = first_id_of(name)
    assert first_id is not None
    good: list[tuple[StoredRecord, bytes]] = []
    bad = bytearray()
    with Segment(log.directory, first_id) as segment, storage_errors("read", segment.path):
        end = 0
        for position, line in lines(segment.fd, 0, segment.size):
            end = position + len(line) + 1
            try:
                good.append((parse(line), line + b"\n"))
            except BadRecordError:
                if line or end != segment.size:
                    bad += line + b"\n"
        bad += os.pread(segment.fd, segment.size - end, end)
    return good, bytes(bad)
