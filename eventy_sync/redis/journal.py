"""The journal: the stream of recent events in Redis, and the counter of ids beside it.

Invariants: the journal is contiguous and ends at ``next_event_id - 1``, or it is *unfilled*: its end is
missing, after a loss, and any root that has the events puts them back.  Nothing is journaled under an epoch
that is over.

A request whose reply was lost may be served late, after its root has gone on without it: see `sessions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from eventy_sync.errors import CoordinationError, RedisConfigurationError
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Argument, Link, Script
from eventy_sync.redis.seal import new_key
from eventy_sync.redis.sessions import Sessions
from eventy_sync.storage.log import Entry, KeyedPublish

PAGE_ENTRIES, PAGE_BYTES = 1000, 1024 * 1024
"""So much is read at once, and a few entries more, for an event may be larger than a page."""

_PUBLISH, _JOIN, _PAGE = Script("publish"), Script("join"), Script("page")
_FILL, _FORGET, _EXPIRE = Script("fill"), Script("forget"), Script("expire")


class Joined(NamedTuple):
    """What a root learns when it joins.

    `seal` is the key of what is published in this epoch, see `seal`; `last_id` was given out last; the journal ends at
    `journaled_id`.
    """

    queue_id: UUID
    epoch: bytes
    seal: bytes
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
    """Why no ids were given out: "rejoin", "awaiting" or "behind"; or "foreign" or "taken", and the queue or event."""

    reason: str
    detail: str = ""


class DivergedError(CoordinationError):
    """This root's last event is another one than the queue's.  Stays inside this package: joining sees to it."""

    def __init__(self, event_id: int) -> None:
        super().__init__(event_id)
        self.event_id = event_id

    def __str__(self) -> str:
        return f"event {self.event_id} of this root is not the one that the queue has under its id"


class Journal:
    """The Redis side of publishing.  `publish` is called under the append lock; the rest is thread safe."""

    def __init__(
        self,
        keys: Keys,
        root_id: UUID,
        worker_id: UUID,
        length: int,
        publishing: Link,
        asking: Link,
        sessions: Sessions,
    ) -> None:
        self._keys, self._root_id, self._length = keys, str(root_id), length
        self._publishing, self._asking, self._sessions = publishing, asking, sessions
        wake_up = f'{{"type":"add_event","worker_id":"{worker_id}","root_id":"{root_id}","last_id":'
        self._publish_keys = (keys.next_event_id, keys.journal, keys.meta)
        self._publish_arguments = (length, keys.channel, wake_up, f"last:{root_id}")
        self._publish = _PUBLISH.prepare(self._publish_keys, self._publish_arguments)
        # written under the append lock
        self._session, self._requests = sessions.begin(), 0

    def token(self) -> bytes:
        """Return a token for one request."""
        self._requests += 1
        return b"%s.%d" % (self._session, self._requests)

    def give_up_session(self) -> None:
        """Begin a new session: a reply was lost, and the request may be served yet."""
        self._sessions.give_up(self._session)
        self._session = self._sessions.begin()

    def publish(
        self,
        epoch: bytes,
        token: bytes,
        lost_token: bytes,
        tail: int,
        tail_at: int,
        payload_fields: Sequence[bytes],
        *,
        keyed: KeyedPublish | None = None,
    ) -> Published | Refused:
        """Get ids for these payloads and journal them; for one alone if it is `keyed` and no event has the key.

        `lost_token` is that of the same request when its reply was lost: if it was served, its ids come back, and
        it never will be from then on.  `tail_at` is the time of the root's last event, 0 if it is not known.

        Raises:
            RedisUnavailableError: Redis cannot be had; the error says whether they may have been journaled.
        """
        arguments = [epoch, token, b"%d" % tail, b"%d" % tail_at, lost_token, *payload_fields]
        call = self._publish
        if keyed is not None:
            names = (*self._publish_keys, self._keys.event_key(keyed.key))
            call = _PUBLISH.prepare(names, self._publish_arguments)
            window_milliseconds = -(-keyed.window // 1000)
            arguments += [keyed.begins, b"%d" % window_milliseconds, b"%d" % keyed.void_id]
        packed = b"".join([b"$%d\r\n%b\r\n" % (len(each), each) for each in arguments])
        reply = self._publishing.call(call, len(arguments), packed)
        missing: list[Entry] = []
        if reply.__class__ is list:
            reply, missing = reply[0], [_entry(each) for each in reply[1]]
        told = reply.split()
        if len(told) < 3:
            return Refused(*(each.decode() for each in told))
        return Published(int(told[0]), int(told[1]), int(told[2]), missing)

    def has_served(self, token: bytes) -> bool:
        """Return whether this request was served, and no other one of this root since, as far as Redis still knows.

        Raises:
            RedisUnavailableError: Redis cannot be had.
        """
        done = self._asking.command("HGET", self._keys.meta, f"last:{self._root_id}")
        return done is not None and bool(done.startswith(b"%b " % token))

    def join(
        self,
        queue_id: UUID,
        tail: int,
        description: bytes,
        last_token: int,
        others: Sequence[str],
        *,
        adopts: bool,
    ) -> Joined | Refused:
        """Say how far this root's log goes and learn how far the queue has gone."""
        keys = self._keys
        names = (keys.next_event_id, keys.journal, keys.meta, keys.awaiting, keys.roots)
        void = self._sessions.void()
        arguments: list[Argument] = [str(queue_id), self._root_id, tail, description, uuid4().hex, new_key()]
        reply = self._asking.run(_JOIN, names, [*arguments, last_token, int(adopts), " ".join(void), *others])
        if reply[0] != b"ok":
            return Refused(reply[0].decode(), reply[1].decode())
        self._sessions.told(void)
        return Joined(UUID(reply[1].decode()), *reply[2:])

    def entries_from(self, tail: int) -> Iterator[list[Entry]]:
        """Yield pages of the entries from a root's tail on, which both should have, to the journal's end.

        Raises:
            RedisUnavailableError: Redis cannot be had.
        """
        first_id = max(tail, 1)
        has_more = True
        while has_more:
            has_more, page = self._asking.run(_PAGE, (self._keys.journal,), [first_id, PAGE_ENTRIES, PAGE_BYTES])
            if page:
                yield [_entry(each) for each in page]
                first_id = _entry_id(page[-1]) + 1

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

    def expire(self, pairs: Sequence[bytes], seconds: float) -> None:
        """Take off roots, ids and descriptions in turn, unless they have spoken since or published so lately."""
        self._asking.run(_EXPIRE, (self._keys.meta, self._keys.roots), [int(seconds), *pairs])

    def epoch(self) -> bytes | None:
        """Return the present epoch, or None if there is none."""
        epoch: bytes | None = self._asking.command("HGET", self._keys.meta, "epoch")
        return epoch

    def last_id(self) -> int:
        """Return the id that was given out last."""
        value = self._asking.command("GET", self._keys.next_event_id)
        return int(value or b"1") - 1

    def begin_behind(self, epoch: bytes, last_id: int) -> None:
        """Empty the journal, of which nobody has the end: it begins behind this event, which was given out last."""
        names = (self._keys.next_event_id, self._keys.journal, self._keys.meta)
        self._asking.run(_FILL, names, [epoch, self._length, 1, last_id + 1])

    def fill(self, epoch: bytes, entries: Sequence[Entry], *, anew: bool) -> int:
        """Put entries back at the journal's end, or into an emptied one; return where it then ends, -1 to rejoin."""
        arguments: list[Argument] = [epoch, self._length, int(anew), entries[0].id]
        for entry in entries:
            arguments += [entry.at, entry.payload_fields]
        names = (self._keys.next_event_id, self._keys.journal, self._keys.meta)
        return int(self._asking.run(_FILL, names, arguments))


def _entry(item: Any) -> Entry:
    """Return a stream's entry as ours."""
    try:
        values = item[1]
        fields = dict(zip(values[::2], values[1::2], strict=True))
        return Entry(_entry_id(item), int(fields[b"a"]), fields[b"f"])
    except (KeyError, ValueError) as exc:
        raise RedisConfigurationError(
            "the journal holds something else than this queue's events: choose another redis_prefix or name"
        ) from exc


def _entry_id(item: Any) -> int:
    return int(item[0].partition(b"-")[0])
