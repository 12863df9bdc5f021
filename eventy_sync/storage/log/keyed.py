"""Publishing under a key: one event for each key and window, whoever races.

The *book* knows keys by heart, the log is the truth: what the book says of an event counts only if the event is in the
log and carries the key.  The book is written before the log.  Who dies between leaves an entry that does not count,
because the event that gets that id does not carry the key; or it does, as that is the one that was to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from eventy_sync.errors import CorruptRecordError, EventExpiredError, EventNotFoundError
from eventy_sync.storage.log.record import BadRecordError, StoredRecord, key_fields, parse


class KeyEntry(NamedTuple):
    """A key, the event that has it, and until when, in microseconds UTC."""

    key: str
    event_id: int
    expires_at: int


class KeyBook(Protocol):
    """Thread safe.  Its methods raise StorageError when it cannot be read or written."""

    def find(self, key: str, now: int) -> int | None:
        """Return the event that has the key now, None if none has."""

    def note(self, entries: Sequence[KeyEntry], now: int) -> None:
        """Let keys belong to these events, in place of others, and forget what has expired."""


class KeyTakenError(Exception):
    """The key has an event already: `record`.  No error to a user, who gets that event."""

    def __init__(self, record: StoredRecord) -> None:
        super().__init__(record.id)
        self.record = record


class KeyedPublish:
    """One event to be published under a key.  All but the constructor needs the append lock.

    `void_id` is an event that does not count, though it may have had the key: it is gone, or another one.
    """

    def __init__(
        self,
        key: str,
        window: int,
        payload_fields: bytes,
        *,
        book: KeyBook,
        get: Callable[[int], StoredRecord],
        clock: Callable[[], int],
    ) -> None:
        self.key, self.window, self.payload_fields = key, window, payload_fields
        self._book, self._get, self._clock = book, get, clock
        self.void_id = 0

    @property
    def begins(self) -> bytes:
        """What the fields of an event with this key begin with."""
        return key_fields(self.key)

    def check(self) -> None:
        """Raise KeyTakenError if the log has an event with this key."""
        event_id = self._book.find(self.key, self._clock())
        if event_id is None:
            return
        try:
            self.check_event(event_id)
        except EventExpiredError:  # it was here
            self.void_id = event_id

    def check_event(self, event_id: int) -> None:
        """Raise KeyTakenError if this event has the key, EventExpiredError if it is not here any more or never was."""
        try:
            record = self._get(event_id)
        except EventExpiredError:
            raise
        except (EventNotFoundError, CorruptRecordError):
            return
        if record.key == self.key:
            raise KeyTakenError(record)

    def note(self, event_id: int, at: int) -> None:
        """Let the key belong to the event that is appended next."""
        self._book.note([KeyEntry(self.key, event_id, at + self.window)], self._clock())


def keys_in(lines: Iterable[bytes]) -> list[KeyEntry]:
    """Return the keys that these records carry; what is none is passed over."""
    found = []
    for line in lines:
        with suppress(BadRecordError):
            record = parse(line[:-1])
            if record.key is not None:
                found.append(KeyEntry(record.key, record.id, record.at + record.window))
    return found
