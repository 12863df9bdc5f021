"""The events of a log as a user sees them: payloads in, `QueueEvent`s out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Generic, TypeVar

from eventy_sync.errors import (
    CorruptRecordError,
    EventExpiredError,
    EventNotFoundError,
    InvalidArgumentError,
    InvalidPayloadError,
)
from eventy_sync.file.marking import time_of
from eventy_sync.models import Page, QueueEvent
from eventy_sync.paging import check_limit, check_time, decode_page_id, encode_page_id
from eventy_sync.serializers import Codec, Serializer, get_serializer
from eventy_sync.storage.log import EventLog, Marks, StoredRecord, all_fields, fields

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_READ_AT_ONCE = 200
_PAGE_KIND = "events"

WaitBeyond = Callable[[int, "float | None"], bool]
"""Waits until the log has gone beyond an id, at most so many seconds; says whether it has."""


class Events(Generic[T]):
    """Publishes to a log and reads from it.  Thread safe."""

    def __init__(self, log: EventLog, serializer: Serializer, payload_type: Any) -> None:
        self._log, self._payload_type = log, payload_type
        self._encoding = serializer.encoding
        codec: Codec = serializer.bind(payload_type)
        self._encode = codec.encode
        self._encode_all = codec.encode_all or (lambda payloads: [codec.encode(each) for each in payloads])
        self._decoders: dict[str, Callable[[bytes], T]] = {serializer.encoding: codec.decode}

    # -- publishing ------------------------------------------------------------------------------------------

    def publish(self, payload: T) -> QueueEvent[T]:
        """See `EventQueue.publish`."""
        event_id, at = self._log.append((fields(self._encode(payload), self._encoding),))
        return QueueEvent(event_id, payload, _EPOCH + timedelta(0, 0, at))

    def publish_marked(self, payload: T, marks: Marks) -> QueueEvent[T]:
        """Publish with a key, or to be handed out later; the event that has the key already is returned as it is."""
        payload_fields = fields(self._encode(payload), self._encoding, marks)
        if marks.key is None:
            appended: tuple[int, int] | StoredRecord = self._log.append((payload_fields,))
        else:
            appended = self._log.append_keyed(marks.key, marks.window, payload_fields)
        if isinstance(appended, StoredRecord):
            return self.event_of(appended)
        event_id, at = appended
        return QueueEvent(event_id, payload, time_of(at), marks.key, None if marks.due is None else time_of(marks.due))

    def publish_many(self, payloads: Iterable[T]) -> list[QueueEvent[T]]:
        """See `EventQueue.publish_many`."""
        payloads = list(payloads)
        if not payloads:
            return []
        first_id, at = self._log.append(all_fields(self._encode_all(payloads), self._encoding))
        created_at = _EPOCH + timedelta(0, 0, at)
        return [QueueEvent(event_id, payload, created_at) for event_id, payload in enumerate(payloads, first_id)]

    # -- reading ---------------------------------------------------------------------------------------------

    def event_of(self, record: StoredRecord) -> QueueEvent[T]:
        """Return a record as an event.

        Raises:
            InvalidPayloadError: its payload is not of the queue's type.
        """
        decode = self._decoders.get(record.encoding) or self._decoder_for(record)
        payload, created_at = decode(record.body), _EPOCH + timedelta(0, 0, record.at)
        if record.key is None and record.due is None:  # nearly always
            return QueueEvent(record.id, payload, created_at)
        due = record.due
        return QueueEvent(record.id, payload, created_at, record.key, None if due is None else time_of(due))

    def _decoder_for(self, record: StoredRecord) -> Callable[[bytes], T]:
        """Return the decoder for records that were written by another serializer, never by one that runs code."""
        if record.encoding not in ("json", "msgpack"):
            raise InvalidPayloadError(
                f"event {record.id} was written by the serializer {record.encoding!r}: "
                "open the queue with that one as event_serializer to read it"
            )
        codec: Codec = get_serializer(record.encoding, self._payload_type).bind(self._payload_type)
        return self._decoders.setdefault(record.encoding, codec.decode)

    def get(self, event_id: int) -> QueueEvent[T]:
        """See `EventQueue.get_event`."""
        return self.event_of(self._log.get(check_event_id(event_id)))

    def batch_get(self, event_ids: Sequence[int]) -> list[QueueEvent[T] | None]:
        """See `EventQueue.batch_get_events`."""
        return [self._get_or_none(event_id) for event_id in event_ids]

    def _get_or_none(self, event_id: int) -> QueueEvent[T] | None:
        try:
            return self.get(event_id)
        except EventNotFoundError:
            return None

    def search(
        self, page_id: str | None, limit: int, earliest: datetime | None, latest: datetime | None
    ) -> Page[QueueEvent[T]]:
        """See `EventQueue.search_events`."""
        check_limit(limit)
        start = self._start_of(page_id)
        found: list[QueueEvent[T]] = []
        for first_id, last_id in self._ranges(start, earliest, latest):
            for event in self._between(first_id, last_id):
                if len(found) == limit:
                    return Page(found, encode_page_id(_PAGE_KIND, event.id))
                found.append(event)
        return Page(found, None)

    def _start_of(self, page_id: str | None) -> int:
        if page_id is None:
            return 1
        return check_event_id(decode_page_id(_PAGE_KIND, page_id))

    def count(self, earliest: datetime | None, latest: datetime | None) -> int:
        """See `EventQueue.count_events`."""
        if earliest is None and latest is None:
            return self._log.tail() - self._log.oldest() + 1
        return sum(last_id - first_id + 1 for first_id, last_id in self._ranges(1, earliest, latest))

    def _ranges(self, start: int, earliest: datetime | None, latest: datetime | None) -> Iterator[tuple[int, int]]:
        if earliest is None and latest is None:
            tail = self._log.tail()
            return iter([(max(start, self._log.oldest()), tail)] if start <= tail else [])
        return self._log.time_ranges(start, _microseconds(earliest), _microseconds(latest))

    def _between(self, first_id: int, last_id: int) -> Iterator[QueueEvent[T]]:
        """Yield what can be read of these events; damage is for `get_event`, delivery and verify to report."""
        reader = self._log.reader(first_id)
        try:
            while reader.next_id <= last_id and (items := reader.read(_READ_AT_ONCE)):
                for item in items:
                    if item.last_id > last_id:
                        return
                    if isinstance(item, StoredRecord):
                        yield self.event_of(item)
        finally:
            reader.close()

    def iterate(
        self, from_index: int, follow: bool, timeout: float | None, wait_beyond: WaitBeyond
    ) -> Iterator[QueueEvent[T]]:
        """See `EventQueue.iter_events`."""
        tail = self._log.tail()
        reader = self._log.reader(self.check_start(from_index))
        try:
            while follow or reader.next_id <= tail:
                items = reader.read(_READ_AT_ONCE)
                for item in items:
                    if isinstance(item, CorruptRecordError):
                        raise item
                    yield self.event_of(item)
                if not items and not (follow and wait_beyond(reader.next_id - 1, timeout)):
                    return
        finally:
            reader.close()

    def check_start(self, from_index: int) -> int:
        """Return `from_index` if a reader may start there.

        Raises:
            EventExpiredError: retention has dropped that event.
            InvalidArgumentError: it is no event id.
        """
        oldest = self._log.oldest()
        if check_event_id(from_index) < oldest:
            raise EventExpiredError(
                f"cannot start at event {from_index}: retention has dropped it; the oldest kept is {oldest}"
            )
        return from_index


def check_event_id(event_id: object) -> int:
    """Return the id if it can be one.

    Raises:
        InvalidArgumentError: it is not a whole number from 1 on.
    """
    if not isinstance(event_id, int) or isinstance(event_id, bool) or event_id < 1:
        raise InvalidArgumentError(f"an event id is a whole number from 1 on, not {event_id!r:.50}")
    return event_id


def _microseconds(time_limit: datetime | None) -> int | None:
    checked = check_time(time_limit)
    return None if checked is None else (checked - _EPOCH) // _MICROSECOND
