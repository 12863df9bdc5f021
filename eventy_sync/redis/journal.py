"""The journal: the stream of recent events in Redis, and the counter of ids beside it.

Invariants: the journal is contiguous and ends at ``next_event_id - 1``, or it is *unfilled*: its end is
missing, after a loss, and any root that has the events puts them back.  Nothing is journaled under an epoch
that is over.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Argument, Link, Script
from eventy_sync.storage.log import Entry

PAGE_ENTRIES = 1000
MAX_MISSING = 200
"""So many entries that a root is missing come back with a publish; more are fetched page by page."""

_PUBLISH, _JOIN, _FILL, _FORGET = Script("publish"), Script("join"), Script("fill"), Script("forget")


class Joined(NamedTuple):
    """What a root learns when it joins.  `last_id` was given out last; the journal ends at `journaled_id`."""

    queue_id: UUID
    epoch: bytes
    last_id: int
    journaled_id: int
    roots: list[bytes]


class Published(NamedTuple):
    """Ids for a batch: from `first_id` on, at `at`; `missing` goes into the log before them."""

    first_id: int
    at: int
    roots: int
    missing: list[Entry]


class Refused(NamedTuple):
    """Why no ids were given out: "rejoin", "awaiting" or "behind"; or "foreign", and whose queue it is."""

    reason: str
    detail: str = ""


class Journal:
    """The Redis side of publishing.  `publish` is called under the append lock; the rest is thread safe."""

    def __init__(self, keys: Keys, root_id: UUID, worker_id: UUID, length: int, publishing: Link, asking: Link) -> None:
        self._keys, self._root_id, self._length = keys, str(root_id), length
        self._publishing, self._asking = publishing, asking
        wake_up = f'{{"type":"add_event","worker_id":"{worker_id}","root_id":"{root_id}","last_id":'
        self._publish = _PUBLISH.prepare(
            (keys.next_event_id, keys.journal, keys.meta),
            (str(root_id), length, keys.channel, wake_up, MAX_MISSING, f"last:{root_id}"),
        )
        prefix = uuid4().hex
        self._tokens = (f"{prefix}.{number}".encode() for number in itertools.count())

    def token(self) -> bytes:
        """Return a token for one request: repeating the request with it brings the same ids again."""
        return next(self._tokens)

    def publish(
        self, epoch: bytes, token: bytes, tail: int, last_at: int, payload_fields: Sequence[bytes]
    ) -> Published | Refused:
        """Get ids for these payloads and journal them.

        Raises:
            RedisUnavailableError: Redis cannot be had; whether they were journaled is unknown.
        """
        arguments = [epoch, token, b"%d" % tail, b"%d" % last_at, *payload_fields]
        packed = b"".join([b"$%d\r\n%b\r\n" % (len(each), each) for each in arguments])
        reply = self._publishing.call(self._publish, len(arguments), packed)
        if len(reply) == 1:
            return Refused(reply[0].decode())
        first_id, at, roots, missing = reply
        return Published(first_id, int(at), int(roots), [_entry(each) for each in missing] if missing else missing)

    def join(
        self,
        queue_id: UUID,
        tail: int,
        description: bytes,
        run_id: str,
        last_token: int,
        others: Sequence[str],
        *,
        adopts: bool,
    ) -> Joined | Refused:
        """Say how far this root's log goes and learn how far the queue has gone."""
        keys = self._keys
        names = (keys.next_event_id, keys.journal, keys.meta, keys.awaiting, keys.roots)
        arguments: list[Argument] = [str(queue_id), self._root_id, tail, description, uuid4().hex, run_id, last_token]
        reply = self._asking.run(_JOIN, names, [*arguments, int(adopts), *others])
        if reply[0] != b"ok":
            return Refused(reply[0].decode(), reply[1].decode())
        return Joined(UUID(reply[1].decode()), reply[2], reply[3], reply[4], reply[5])

    def entries_from(self, first_id: int) -> Iterator[list[Entry]]:
        """Yield pages of entries from this id on, to the journal's end."""
        while True:
            page = self._asking.command("XRANGE", self._keys.journal, f"{first_id}-0", "+", "COUNT", PAGE_ENTRIES)
            if not page:
                return
            entries = [_entry(each) for each in page]
            yield entries
            first_id = entries[-1].id + 1

    def entry(self, event_id: int) -> Entry | None:
        """Return one entry, or None if the journal does not have it."""
        found = self._asking.command("XRANGE", self._keys.journal, f"{event_id}-0", f"{event_id}-0")
        return _entry(found[0]) if found else None

    def awaited(self) -> list[str]:
        """Return the roots that must say their tail before ids are given out again."""
        return [each.decode() for each in self._asking.command("SMEMBERS", self._keys.awaiting)]

    def forget(self, root_ids: Sequence[str]) -> bool:
        """Wait no more for these roots; say whether any was known."""
        names = (self._keys.meta, self._keys.awaiting, self._keys.roots)
        return bool(self._asking.run(_FORGET, names, root_ids))

    def last_id(self) -> int:
        """Return the id that was given out last."""
        value = self._asking.command("GET", self._keys.next_event_id)
        return int(value or b"1") - 1

    def is_empty(self) -> bool:
        """Return whether the journal holds nothing at all."""
        return not self._asking.command("XLEN", self._keys.journal)

    def fill(self, epoch: bytes, entries: Sequence[Entry], *, anew: bool) -> int:
        """Put entries back at the journal's end, or into an emptied one; return where it then ends, -1 to rejoin."""
        arguments: list[Argument] = [epoch, self._length, int(anew), entries[0].id]
        for entry in entries:
            arguments += [entry.at, entry.payload_fields]
        names = (self._keys.next_event_id, self._keys.journal, self._keys.meta)
        return int(self._asking.run(_FILL, names, arguments))


def _entry(item: Any) -> Entry:
    """Return a stream's entry as ours."""
    name, values = item
    fields = dict(zip(values[::2], values[1::2], strict=True))
    return Entry(int(name.partition(b"-")[0]), int(fields[b"a"]), fields[b"f"])
