"""One record on disk: a line that tells whole, torn and corrupt apart.

::

    record := crc32:hex[8] SP json LF
    json   := {"id": int, "at": int, marks "payload": any}              encoding "json"
            | {"id": int, "at": int, marks "data": base64, "encoding": text}
            | {"id": int, "at": int, "gap": int}    events id to gap, both included, are lost for good
    marks  := ["key": text, "window": int,] ["due": int,]
    seal   := LF                       ends a segment that will never grow again

`at` and `due` are in microseconds since 1970, UTC, `window` in microseconds.  The checksum is that of the JSON text, in
lower case.
The last line of the active segment, if short or failing its checksum, is *torn*: a writer died.
The same damage anywhere else is *corrupt*, and is never repaired silently.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple
from zlib import crc32

import msgspec

from eventy_sync.serializers import MAX_PAYLOAD_BYTES

JSON_ENCODING = "json"
PREFIX_BYTES = 9
MAX_RECORD_BYTES = MAX_PAYLOAD_BYTES * 4 // 3 + 1024
"""A longer line is corrupt: base64 of the largest payload, and room for the rest."""

MAX_KEY_CHARACTERS = 500
MAX_WINDOW_MICROSECONDS = 10 * 365 * 86_400_000_000
EARLIEST_MICROSECONDS, LATEST_MICROSECONDS = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The beginning of the year 1 and the end of the year 9999: a due time can be told as a datetime."""

_MAX_ID = 10**19
_KEY_BEGINS = b'"key":'

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY_CHARACTERS)]
Window = Annotated[int, msgspec.Meta(ge=1, le=MAX_WINDOW_MICROSECONDS)]
Due = Annotated[int, msgspec.Meta(ge=EARLIEST_MICROSECONDS, le=LATEST_MICROSECONDS)]


class Marks(NamedTuple):
    """What an event was published with beside its payload; times in microseconds.

    No other event has the `key` for `window` after this one's time; `due` is when it is handed out.
    """

    key: str | None = None
    window: int = 0
    due: int | None = None

    def fields(self) -> bytes:
        """Return them as they stand before the payload in a record's JSON."""
        text = b"" if self.key is None else b'%b"window":%d,' % (key_fields(self.key), self.window)
        return text if self.due is None else b'%b"due":%d,' % (text, self.due)


class StoredRecord(msgspec.Struct, frozen=True):
    """A record as read back.  Times are in microseconds UTC; a record that stands for lost events has a `gap`."""

    id: int
    at: int
    payload: msgspec.Raw = msgspec.Raw()
    data: bytes = b""
    encoding: str = JSON_ENCODING
    gap: int = 0
    key: Key | None = None
    window: Window = 0
    due: Due | None = None

    @property
    def body(self) -> bytes:
        """The payload as its serializer left it."""
        return bytes(self.payload) if self.encoding == JSON_ENCODING else self.data

    @property
    def last_id(self) -> int:
        """The last event this record stands for: its own id, but for a gap."""
        return self.gap or self.id

    @property
    def payload_fields(self) -> bytes:
        """What the record was built from, byte for byte."""
        return fields(self.body, self.encoding, Marks(self.key, self.window, self.due))


class BadRecordError(ValueError):
    """A line is not a record.  Stays inside the log: callers see torn or corrupt."""


_decode_record = msgspec.json.Decoder(StoredRecord).decode
_encode_text = msgspec.json.Encoder().encode


def fields(body: bytes, encoding: str, marks: Marks | None = None) -> bytes:
    """Return the part of a record's JSON that holds the payload: all that can be made before its id is known."""
    if encoding == JSON_ENCODING:
        text = b'"payload":' + body
    else:
        text = b'"data":"%b","encoding":%b' % (b64encode(body), _encode_text(encoding))
    return text if marks is None else marks.fields() + text


def key_fields(key: str) -> bytes:
    """Return what the fields of every record with this key begin with, and of no other."""
    return b"%b%b," % (_KEY_BEGINS, _encode_text(key))


def has_key(payload_fields: bytes) -> bool:
    """Return whether these fields are those of a record with a key."""
    return payload_fields.startswith(_KEY_BEGINS)


def all_fields(bodies: Iterable[bytes], encoding: str) -> list[bytes]:
    """Return what `fields` does for each, in less time."""
    if encoding == JSON_ENCODING:
        return [b'"payload":' + body for body in bodies]
    return [fields(body, encoding) for body in bodies]


def gap_fields(last_id: int) -> bytes:
    """Return the fields of a record that stands for events that are lost."""
    return b'"gap":%d' % last_id


def build(event_id: int, at: int, payload_fields: bytes) -> bytes:
    """Return the whole line of a record."""
    text = b'{"id":%d,"at":%d,%b}' % (event_id, at, payload_fields)
    return b"%08x %b\n" % (crc32(text), text)


def build_all(first_id: int, at: int, payload_fields: Sequence[bytes]) -> list[bytes]:
    """Return what `build` does for each, with ids that run on, in less time."""
    if len(payload_fields) == 1:  # nearly always
        return [build(first_id, at, payload_fields[0])]
    time = b',"at":%d,' % at
    texts = [b'{"id":%d%b%b}' % (event_id, time, each) for event_id, each in enumerate(payload_fields, first_id)]
    return [b"%08x %b\n" % (crc32(text), text) for text in texts]


def parse(line: bytes) -> StoredRecord:
    """Read one line, without its LF.

    Raises:
        BadRecordError: it is not a whole record.
    """
    text = line[PREFIX_BYTES:]
    if line[:PREFIX_BYTES] != b"%08x " % crc32(text):
        raise BadRecordError("the checksum does not match the text")
    try:
        record = _decode_record(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as exc:
        raise BadRecordError(f"the checksum holds, but this is no record: {exc}") from exc
    if not 0 < record.id < _MAX_ID:
        raise BadRecordError(f"{record.id} is no event id")
    return record
