"""One segment, read at random: where an id or a time begins, found by bisecting byte positions.

Ids grow along a segment and times never go back inside it, so no index is needed.  A damaged line
is stepped over: the next whole record answers for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from eventy_sync.storage.files import open_file
from eventy_sync.storage.log.layout import segment_name
from eventy_sync.storage.log.record import MAX_RECORD_BYTES, BadRecordError, StoredRecord, parse

BLOCK_BYTES = 4096
_END_BLOCK_BYTES = 65_536


class Found(NamedTuple):
    """A record and the byte positions at which its line begins and the next one does."""

    position: int
    record: StoredRecord
    next_position: int


class SegmentEnd(NamedTuple):
    """How a segment ends.  Good lines end at `position`; what follows, unless it is the seal, is torn."""

    last: StoredRecord | None
    position: int
    sealed: bool


class Segment:
    """A segment opened for reading, as long as it was at that moment.  One thread only."""

    def __init__(self, directory: Path, first_id: int) -> None:
        self.first_id = first_id
        self.path = directory / segment_name(first_id)
        self.fd = open_file(self.path, os.O_RDONLY)
        self.size = os.lseek(self.fd, 0, os.SEEK_END)

    def __enter__(self) -> Segment:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back.  May be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def first(self) -> Found | None:
        """Return the first whole record."""
        return next(records(self.fd, 0, self.size), None)

    def end(self) -> SegmentEnd:
        """Return how the segment ends."""
        return read_end(self.fd, self.size)

    def find_id(self, event_id: int, low: int = 0, high: int | None = None) -> Found | None:
        """Return the first record with this id or a greater one, of those whose lines begin in these bytes."""
        return self._bisect(lambda record: record.id >= event_id, low, high)

    def find_time(self, at: int) -> Found | None:
        """Return the first record written at this time, in microseconds, or later."""
        return self._bisect(lambda record: record.at >= at)

    def _bisect(self, reached: Callable[[StoredRecord], bool], low: int = 0, high: int | None = None) -> Found | None:
        """Return the first record for which `reached` holds; it must hold for all that follow.  `low` begins a line."""
        best = None
        high = self.size if high is None else high
        while high - low > BLOCK_BYTES:
            middle = (low + high) // 2
            found = next(records(self.fd, next_line(self.fd, middle, high), high), None)
            if found is None:
                high = middle
            elif reached(found.record):
                high, best = middle, found
            else:
                low = found.next_position
        return next((found for found in records(self.fd, low, high) if reached(found.record)), best)


def next_line(fd: int, position: int, end: int) -> int:
    """Return where the first line at or after `position` begins, or `end`."""
    if position == 0:
        return 0
    start = position - 1
    while start < end:
        block = os.pread(fd, BLOCK_BYTES, start)
        if not block:
            break
        if (newline := block.find(b"\n")) >= 0:
            return min(start + newline + 1, end)
        start += len(block)
    return end


def records(fd: int, start: int, end: int) -> Iterator[Found]:
    """Yield the whole records whose lines begin from `start`, the beginning of a line, to before `end`."""
    for position, line in lines(fd, start, end):
        try:
            yield Found(position, parse(line), position + len(line) + 1)
        except BadRecordError:
            continue


def lines(fd: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield position and text, without LF, of each complete line that begins from `start` to before `end`."""
    block_bytes = BLOCK_BYTES
    while start < end:
        block = os.pread(fd, block_bytes, start)
        complete = block.rfind(b"\n") + 1
        if complete:
            for line in block[: complete - 1].split(b"\n"):
                if start >= end:
                    return
                yield start, line
                start += len(line) + 1
            block_bytes = BLOCK_BYTES
        elif len(block) < block_bytes:
            return
        elif len(block) > MAX_RECORD_BYTES:
            start = next_line(fd, start + len(block), end)
        else:
            block_bytes *= 4


def read_end(fd: int, size: int) -> SegmentEnd:
    """Return how a segment of `size` bytes ends, reading backwards from there as little as it takes."""
    block_bytes = _END_BLOCK_BYTES
    while True:
        start = max(0, size - block_bytes)
        block = os.pread(fd, size - start, start)
        found = _end_of_block(block, start)
        if found is not None:
            return found
        if start == 0:
            return SegmentEnd(None, 0, _is_sealed(block))
        block_bytes *= 4


def _is_sealed(block: bytes) -> bool:
    return block.endswith(b"\n\n") or block == b"\n"


def _end_of_block(block: bytes, start: int) -> SegmentEnd | None:
    """Return the end that the last whole record in this block makes, or None if there is none in it."""
    newline = block.rfind(b"\n")
    while newline >= 0:
        line_start = block.rfind(b"\n", 0, newline) + 1
        if line_start == 0 and start > 0:
            return None  # the line may have begun before this block
        try:
            last = parse(block[line_start:newline])
        except BadRecordError:
            newline = line_start - 1
            continue
        return SegmentEnd(last, start + newline + 1, _is_sealed(block))
    return None
