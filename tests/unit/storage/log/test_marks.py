"""Keys and due times in a record: what is written comes back, and what cannot be is no record."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventy_sync.storage.log.record import (
    EARLIEST_MICROSECONDS,
    LATEST_MICROSECONDS,
    MAX_WINDOW_MICROSECONDS,
    BadRecordError,
    Marks,
    StoredRecord,
    build,
    fields,
    has_key,
    key_fields,
    parse,
)

keys = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=500)
windows = st.integers(1, MAX_WINDOW_MICROSECONDS)
dues = st.none() | st.integers(EARLIEST_MICROSECONDS, LATEST_MICROSECONDS)
marks = st.tuples(keys, windows, dues).map(Marks._make) | dues.map(lambda due: Marks(due=due))


def read(payload_fields: bytes) -> StoredRecord:
    return parse(build(7, 5, payload_fields)[:-1])


@given(marks, st.sampled_from(["json", "msgpack"]))
def test_marks_come_back_as_they_were_written(given_marks: Marks, encoding: str) -> None:
    """With the payload, whatever the key; and the fields are made again byte for byte, for other roots."""
    written = fields(b'{"key":"no"}', encoding, given_marks)
    record = read(written)
    assert (record.key, record.window, record.due) == given_marks
    assert (record.body, record.encoding) == (b'{"key":"no"}', encoding)
    assert record.payload_fields == written


@given(keys, keys, windows)
def test_fields_begin_as_the_key_says_only_if_it_is_theirs(key: str, other: str, window: int) -> None:
    """Not where the other key begins with this one, and not in the payload."""
    written = fields(b"1", "json", Marks(other, window))
    assert written.startswith(key_fields(key)) == (key == other)
    assert has_key(written)
    assert not has_key(fields(b'{"key":"a"}', "json", Marks(due=3)))


@pytest.mark.parametrize(
    "mark",
    [
        b'"key":""',
        b'"key":"%b"' % (b"x" * 501),
        b'"key":7',
        b'"window":0',
        b'"window":%d' % (MAX_WINDOW_MICROSECONDS + 1),
        b'"due":"soon"',
        b'"due":1.5',
        b'"due":%d' % (LATEST_MICROSECONDS + 1),
        b'"due":%d' % (EARLIEST_MICROSECONDS - 1),
        b'"due":1%b' % (b"0" * 30),
    ],
)
def test_a_mark_that_cannot_be_makes_no_record(mark: bytes) -> None:
    """Though the checksum holds: nobody takes it for a record, so nobody stumbles over it later."""
    with pytest.raises(BadRecordError, match="this is no record"):
        read(mark + b',"payload":1')


def test_a_record_of_the_document_reads_as_it_says() -> None:
    """The order of the marks is fixed: roots compare bytes."""
    text = b'{"id":2,"at":3,"key":"order-7","window":86400000000,"due":4,"payload":{"n":1}}'
    assert build(2, 3, fields(b'{"n":1}', "json", Marks("order-7", 86_400_000_000, 4))) == b"%08x %b\n" % (
        crc32(text),
        text,
    )
