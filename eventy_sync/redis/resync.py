"""Resync: getting from another root what the journal no longer holds.

A *request* names the first and last event wanted.  One root asks at a time, under redis-py's `Lock`; whichever
peer answers first streams its records through a bounded stream that expires, waiting while the reader is
behind.  Nobody may have them: after `timeout_seconds` of silence the asker gives up, and knows what it lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

import msgspec
import redis

from eventy_sync.errors import CoordinationError
from eventy_sync.redis.filling import pages
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link
from eventy_sync.redis.translation import translated
from eventy_sync.storage.log import Entry, EventLog

logger = logging.getLogger(__name__)

MAX_PAGES_AHEAD = 16
EXPIRY_SECONDS = 60
_POLL_SECONDS = 0.01
_DONE = b"done"


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


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Page).decode


class Resync:
    """Both sides of a resync.  `ask` blocks its caller; `answer` works in a thread of its own."""

    def __init__(
        self,
        keys: Keys,
        link: Link,
        pool: redis.ConnectionPool,
        timeout_seconds: float,
        publish_request: Callable[[str, int, int], None],
    ) -> None:
        self._keys, self._link, self._pool = keys, link, pool
        self._timeout_seconds, self._publish_request = timeout_seconds, publish_request
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        # guarded by _lock
        self._answering: threading.Thread | None = None

    def stop(self) -> None:
        """End an answer that is under way."""
        self._stopping.set()
        with self._lock:
            thread = self._answering
        if thread is not None:
            thread.join()

    # -- asking -----------------------------------------------------------------------------------------------

    def ask(self, first_id: int, last_id: int, take: Callable[[Sequence[Entry]], None]) -> bool:
        """Ask for these events and hand them to `take`, page by page; False if nobody has answered to the end.

        Raises:
            RedisUnavailableError: Redis cannot be had.
        """
        client = redis.Redis(connection_pool=self._pool)
        lock = client.lock(
            self._keys.resync_lock,
            timeout=self._timeout_seconds,
            blocking_timeout=self._timeout_seconds,
            thread_local=False,
        )
        try:
            if not lock.acquire():
                logger.warning("resync: somebody else has held the lock for too long")
            try:
                return self._receive(first_id, last_id, take, lock)
            finally:
                if lock.owned():
                    lock.release()
        except redis.RedisError as exc:
            raise translated(exc) from exc

    def _receive(
        self, first_id: int, last_id: int, take: Callable[[Sequence[Entry]], None], lock: redis.lock.Lock
    ) -> bool:
        request_id = uuid4().hex
        stream = self._keys.resync(request_id)
        logger.info("resync asked for: first_id=%d last_id=%d", first_id, last_id)
        self._publish_request(request_id, first_id, last_id)
        position, deadline = "0", time.monotonic() + self._timeout_seconds
        while time.monotonic() < deadline and not self._stopping.wait(_POLL_SECONDS):
            for name, values in self._link.command("XRANGE", stream, f"({position}", "+", "COUNT", MAX_PAGES_AHEAD):
                deadline, position = time.monotonic() + self._timeout_seconds, name.decode()
                if values[0] == _DONE:
                    self._link.command("DEL", stream)
                    return True
                page = _decode(values[1])
                ids = range(page.first_id, page.first_id + len(page.times))
                take([Entry(*each) for each in zip(ids, page.times, page.payload_fields, strict=True)])
                self._link.command("XDEL", stream, name)
                if lock.owned():
                    lock.extend(self._timeout_seconds, replace_ttl=True)
        return False

    # -- answering ----------------------------------------------------------------------------------------------

    def answer(self, log: EventLog, root_id: str, request_id: str, first_id: int, last_id: int) -> None:
        """Stream these events to whoever asked, if this root has them and no other one is faster."""
        if last_id > log.tail() or log.oldest() > last_id:
            return
        with self._lock:
            if self._stopping.is_set() or (self._answering is not None and self._answering.is_alive()):
                return
            self._answering = threading.Thread(
                target=self._stream,
                args=(log, root_id, request_id, max(first_id, log.oldest()), last_id),
                name="eventy-resync",
                daemon=True,
            )
            self._answering.start()

    def _stream(self, log: EventLog, root_id: str, request_id: str, first_id: int, last_id: int) -> None:
        stream = self._keys.resync(request_id)
        try:
            if self._link.command("SET", f"{stream}:peer", root_id, "NX", "EX", EXPIRY_SECONDS) is None:
                return
            for entries in pages(log, first_id, last_id):
                if not self._wait_for_room(stream):
                    return
                page = _Page(entries[0].id, [each.at for each in entries], [each.payload_fields for each in entries])
                self._send(stream, b"page", _encode(page))
            self._send(stream, _DONE, b"")
        except CoordinationError as exc:
            logger.warning("resync not answered to the end: %s", exc)

    def _send(self, stream: str, kind: bytes, body: bytes) -> None:
        self._link.command("XADD", stream, "*", kind, body)
        self._link.command("EXPIRE", stream, EXPIRY_SECONDS)

    def _wait_for_room(self, stream: str) -> bool:
        """Wait while the reader is behind; False if it has gone, or we stop."""
        deadline = time.monotonic() + self._timeout_seconds
        while self._link.command("XLEN", stream) >= MAX_PAGES_AHEAD:
            if time.monotonic() > deadline or self._stopping.wait(_POLL_SECONDS):
                return False
        return True
