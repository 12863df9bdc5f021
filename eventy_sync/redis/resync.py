"""Resync: getting from another root what Redis no longer holds.

A *request* names the first and last event wanted, and since when state was missed.  One root asks at a time, under
redis-py's `Lock`, whose token is the request's id: who does not hold the lock is not answered.  Whichever peer
is first streams its events in order, its subscriptions and results through a bounded stream that expires, waiting
while the reader is behind.  Live claims are in Redis themselves.  A peer may fall silent: then the rest is asked for
once more.  Nobody may answer: after `timeout_seconds` of silence the asker gives up, and knows what it lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol
from uuid import uuid4

import msgspec
import redis
from redis.exceptions import LockNotOwnedError

from eventy_sync.errors import CoordinationError, StorageError
from eventy_sync.redis.filling import pages
from eventy_sync.redis.link import Link, Script
from eventy_sync.redis.messages import ResyncDone, ResyncRequest, encode
from eventy_sync.redis.site import Site
from eventy_sync.redis.translation import RedisUnavailableError, translated
from eventy_sync.storage.log import Entry, EventLog

logger = logging.getLogger(__name__)

MAX_PAGES_AHEAD = 16
EXPIRY_SECONDS = 60
_POLL_SECONDS = 0.01
_LOCK_SECONDS, _ASK_AGAIN_SECONDS = 1.0, 1.0
_GIVE_WAY_SECONDS = 1.5
"""So long a root that has not all of it lets others answer first."""
_SEND = Script("send")
_EVENTS, _DONE = b"events", b"done"


class Wanted(NamedTuple):
    """What a root lacks: events, both ends included, 0 and 0 for none; state since a time in microseconds, or None."""

    first_id: int
    last_id: int
    state_since: int | None


class Taker(Protocol):
    """Takes over what another root sends."""

    def rest_of(self, wanted: Wanted) -> Wanted:
        """Return what is wanted yet."""

    def take_events(self, entries: Sequence[Entry]) -> None:
        """Append a run of events."""

    def take_state(self, kind: str, body: bytes) -> None:
        """Make a part of the other's state here."""


class ResyncNeededError(CoordinationError):
    """The journal does not reach back to this root's tail.  Stays inside this package."""

    def __init__(self, first_id: int, last_id: int) -> None:
        super().__init__(first_id, last_id)
        self.first_id, self.last_id = first_id, last_id

    def __str__(self) -> str:
        return f"events {self.first_id} to {self.last_id} are no longer in the journal: getting them from another root"


class _Page(msgspec.Struct, array_like=True):
    """Entries on their way: ids that run on from `first_id`, times, payload fields."""

    first_id: int
    times: list[int]
    payload_fields: list[bytes]

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> _Page:
        return cls(entries[0].id, [each.at for each in entries], [each.payload_fields for each in entries])

    def entries(self) -> list[Entry]:
        ids = range(self.first_id, self.first_id + len(self.times))
        return [Entry(*each) for each in zip(ids, self.times, self.payload_fields, strict=True)]


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Page).decode


class Resync:
    """Both sides of a resync.  `ask` blocks its caller; `answer` works in a thread of its own."""

    def __init__(self, site: Site, link: Link, timeout_seconds: float) -> None:
        # fixed after construction
        self._keys, self._link, self._pool, self._store = site.keys, link, site.pool, site.store
        self._timeout_seconds, self._root_id, self._worker_id = timeout_seconds, str(site.root_id), str(site.worker_id)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        # guarded by _lock
        self._answering: threading.Thread | None = None
        self._request_id = ""

    def stop(self) -> None:
        """End what is under way."""
        self._stopping.set()
        with self._lock:
            thread = self._answering
        if thread is not None:
            thread.join()

    # -- asking -----------------------------------------------------------------------------------------------

    def ask(self, wanted: Wanted, taker: Taker) -> bool:
        """Ask for this and hand it over, page by page; False if nobody has answered to the end.

        Raises:
            RedisUnavailableError: Redis cannot be had, or the queue is being closed.
            StorageError: the disk refused.
        """
        client = redis.Redis(connection_pool=self._pool)
        try:
            while not self._stopping.is_set():
                lock = client.lock(self._keys.resync_lock, timeout=self._timeout_seconds, thread_local=False)
                request_id = uuid4().hex
                if not lock.acquire(blocking_timeout=_LOCK_SECONDS, token=request_id):
                    continue  # somebody else's takes that long; a dead holder's lock ends
                try:
                    before = taker.rest_of(wanted)
                    if self._receive(before, request_id, taker, lock):
                        return True
                    if before != taker.rest_of(wanted):
                        continue  # a root has fallen silent in the middle
                    if self._link.command("GET", f"{self._keys.resync(request_id)}:peer") is None:
                        return False
                    logger.warning("resync: a root has begun to answer and fallen silent, asking again")
                finally:
                    with suppress(LockNotOwnedError):  # it has run out
                        lock.release()
        except redis.RedisError as exc:
            raise translated(exc) from exc
        raise RedisUnavailableError("the queue is being closed")

    def _receive(self, wanted: Wanted, request_id: str, taker: Taker, lock: redis.lock.Lock) -> bool:
        logger.info("resync asked for: first_id=%d last_id=%d state_since=%s", *wanted)
        request = encode(ResyncRequest(self._worker_id, self._root_id, request_id, *wanted))
        try:
            return any(self._hand_over(*item, taker, lock) for item in self._arriving(request_id, request))
        finally:
            done = ResyncDone(self._worker_id, self._root_id, request_id)
            self._link.command("DEL", self._keys.resync(request_id))
            self._link.command("PUBLISH", self._keys.channel, encode(done))

    def _arriving(self, request_id: str, request: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Ask, again while there is no answer, and yield kind and body of each part until silence is too long."""
        stream, position = self._keys.resync(request_id), "0"
        asked_at, deadline = -_ASK_AGAIN_SECONDS, time.monotonic() + self._timeout_seconds
        while time.monotonic() < deadline:
            if position == "0" and time.monotonic() - asked_at >= _ASK_AGAIN_SECONDS:
                asked_at = time.monotonic()
                self._link.command("PUBLISH", self._keys.channel, request)
            if self._stopping.wait(_POLL_SECONDS):
                raise RedisUnavailableError("the queue is being closed")
            for name, (kind, body) in self._link.command("XRANGE", stream, f"({position}", "+", "COUNT", 4):
                yield kind, body
                deadline, position = time.monotonic() + self._timeout_seconds, name.decode()
                self._link.command("XDEL", stream, name)

    def _hand_over(self, kind: bytes, body: bytes, taker: Taker, lock: redis.lock.Lock) -> bool:
        """Give the taker what has arrived; return whether that was all."""
        if kind == _DONE:
            return True
        with suppress(LockNotOwnedError):
            lock.extend(self._timeout_seconds, replace_ttl=True)
        if kind == _EVENTS:
            taker.take_events(_decode(body).entries())
        else:
            taker.take_state(kind.decode(errors="replace"), body)
        return False

    # -- answering ----------------------------------------------------------------------------------------------

    def answer(self, log: EventLog, request: ResyncRequest) -> None:
        """Stream what is asked for, if this root has it, no other one is faster, and who asks holds the lock.

        Raises:
            RedisUnavailableError: Redis cannot be had.
        """
        if request.last_id and (request.last_id > log.tail() or log.oldest() > request.last_id):
            return
        if self._link.command("GET", self._keys.resync_lock) != request.request_id.encode():
            return
        with self._lock:
            if self._request_id == request.request_id:
                return  # asked once more
            self._request_id, before = request.request_id, self._answering
        if before is not None:
            before.join()  # it sees that its own request is over: one asks at a time
        with self._lock:
            if self._stopping.is_set() or self._request_id != request.request_id:
                return
            self._answering = threading.Thread(
                target=self._stream, args=(log, request), name="eventy-resync", daemon=True
            )
            self._answering.start()

    def end(self, request_id: str) -> None:
        """Answer this request no longer: who has asked has all, or has given up."""
        with self._lock:
            if self._request_id == request_id:
                self._request_id = ""

    def _stream(self, log: EventLog, request: ResyncRequest) -> None:
        stream = self._keys.resync(request.request_id)
        try:
            if request.last_id and log.oldest() > request.first_id and self._stopping.wait(_GIVE_WAY_SECONDS):
                return
            if self._link.command("SET", f"{stream}:peer", self._root_id, "NX", "EX", EXPIRY_SECONDS) is None:
                return
            for kind, body in self._answer_to(log, request):
                if not self._wait_for_room(stream, request.request_id):
                    return
                self._link.run(_SEND, (stream,), [EXPIRY_SECONDS, kind, body])
        except (CoordinationError, StorageError) as exc:
            logger.warning("resync not answered to the end: %s", exc)

    def _answer_to(self, log: EventLog, request: ResyncRequest) -> Iterator[tuple[bytes, bytes]]:
        if request.last_id:
            for entries in pages(log, max(request.first_id, log.oldest()), request.last_id):
                yield _EVENTS, _encode(_Page.of(entries))
        if request.state_since is not None:
            for kind, body in self._store.changes_since(request.state_since):
                yield kind.encode(), body
        yield _DONE, b""

    def _wait_for_room(self, stream: str, request_id: str) -> bool:
        """Wait while the reader is behind; False if it has gone, or we stop."""
        deadline = time.monotonic() + self._timeout_seconds
        while self._request_id == request_id:
            if self._link.command("XLEN", stream) < MAX_PAGES_AHEAD:
                return True
            if time.monotonic() > deadline or self._stopping.wait(_POLL_SECONDS):
                return False
        return False
