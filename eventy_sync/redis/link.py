"""A link: one connection to Redis, and the scripts over it.

Commands are packed here rather than by the client, whose own packing is most of the time of a publish; the `Wire` below
carries them.  Nothing is ever retried: a command whose reply is lost may have been done, and whoever sent it must find
out.  Only what a server refused because another one has become responsible is sent once more, over a new connection.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, NamedTuple, Union

import redis

from eventy_sync.errors import QueueClosedError
from eventy_sync.redis.pool import ELSEWHERE
from eventy_sync.redis.translation import translated
from eventy_sync.redis.wire import Wire

IDLE_SECONDS = 0.005
"""A connection that was not used for so long may have been closed: looking first tells "not sent" from "unknown"."""

LOOK_SECONDS = 0.0003
"""So long a reply is looked for before going to sleep."""
CROWDED_SECONDS = 0.001
"""A look that takes so long has waited for a processor: others want it, too."""
LATE = 3
SLEEPS, MORE_SLEEPS, MOST_SLEEPS = 25, 4, 12_800
"""So many replies in a row that come later, or one look in a crowd, let so many be waited for asleep, and four times as
many if it is no better then."""

_HAS_CORES = len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) > 1
"""With one processor alone, looking would only keep the server from answering."""

_yield_processor: Callable[[], None] = getattr(os, "sched_yield", lambda: None)

Argument = Union[bytes, str, int]


def pack(arguments: Sequence[Argument]) -> bytes:
    """Return arguments as they go over the wire, one after the other."""
    packed = []
    for each in arguments:
        text = each if isinstance(each, bytes) else each.encode() if isinstance(each, str) else b"%d" % each
        packed.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(packed)


_BEGINS_WITH = re.compile(rb"^-- begins with (\w+)\.lua$", re.MULTILINE)


def _read(name: str) -> bytes:
    return (resources.files("eventy_sync.redis") / "lua" / f"{name}.lua").read_bytes()


class Script:
    """A Lua script of this package, known by its name and its SHA-1, behind the one that it says it begins with."""

    def __init__(self, name: str) -> None:
        own = _read(name)
        begins_with = _BEGINS_WITH.search(own)
        self.text = own if begins_with is None else _read(begins_with[1].decode()) + own
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()
        self._by_sha, self._by_text = pack(["EVALSHA", self.sha]), pack(["EVAL", self.text])

    def prepare(self, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Call:
        """Return a call of this script with these keys, and first arguments that are always the same."""
        count = 3 + len(keys) + len(arguments)
        return Call(count, self._by_sha, self._by_text, pack([len(keys), *keys, *arguments]))


class Call(NamedTuple):
    """A script, packed as far as it is always the same.  `by_text` serves when the server does not know the script."""

    arguments: int
    by_sha: bytes
    by_text: bytes
    rest: bytes


def _nothing() -> None:
    pass


class Link:
    """One connection, opened when it is first needed.  Thread safe: one command at a time.

    `connect` makes a connection of redis-py that is not open yet; `check` is called with one that is, and may raise
    what redis-py raises.
    """

    def __init__(self, connect: Callable[[], Any], check: Callable[[Any], None] | None = None) -> None:
        self._connect, self._check = connect, check
        self.on_answer: Callable[[float], None] | None = None  # told how many seconds each command took
        self._lock = threading.Lock()
        # guarded by _lock
        self._wire: Wire | None = None
        self._used_at = 0.0
        self._was_sent = self._is_ended = False
        self._sleeps = 0 if _HAS_CORES else sys.maxsize  # so many replies are waited for asleep
        self._next_sleeps = SLEEPS
        self._late = 0  # so many in a row were looked for in vain

    def run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        meanwhile: Callable[[], object] = _nothing,
    ) -> Any:
        """Run a script and return its reply; `meanwhile` is called once the script is on its way.

        Raises:
            RedisUnavailableError: the server cannot be had; the error says whether the script may have run.
            RedisConfigurationError: the server refuses for good.
        """
        return self.call(script.prepare(keys), len(arguments), pack(arguments), meanwhile)

    def call(self, call: Call, count: int, packed: bytes, meanwhile: Callable[[], object] = _nothing) -> Any:
        """Run a prepared script with so many more arguments, packed already; raises as `run` does."""
        head = b"*%d\r\n" % (count + call.arguments)
        with self._lock:
            try:
                return self._send(b"%b%b%b%b" % (head, call.by_sha, call.rest, packed), meanwhile)
            except redis.exceptions.NoScriptError:
                return self._send_or_raise(b"%b%b%b%b" % (head, call.by_text, call.rest, packed))
            except (redis.RedisError, OSError) as exc:
                raise translated(exc, was_sent=self._was_sent) from exc

    def command(self, *arguments: Argument) -> Any:
        """Run one command and return its reply; raises as `run` does."""
        with self._lock:
            return self._send_or_raise(b"*%d\r\n%b" % (len(arguments), pack(arguments)))

    def _send_or_raise(self, packed: bytes) -> Any:
        try:
            return self._send(packed)
        except (redis.RedisError, OSError) as exc:
            raise translated(exc, was_sent=self._was_sent) from exc

    def _send(self, packed: bytes, meanwhile: Callable[[], object] = _nothing) -> Any:
        try:
            return self._send_once(packed, meanwhile)
        except ELSEWHERE:  # it was not done
            self._hang_up()
            return self._send_once(packed, _nothing)

    def _send_once(self, packed: bytes, meanwhile: Callable[[], object]) -> Any:
        now = time.monotonic()
        self._was_sent = False
        try:
            if self._wire is not None and now - self._used_at > IDLE_SECONDS and self._wire.has_arrived():
                self._hang_up()  # nothing is owed to us, so only the end can have come
            self._used_at = now
            if self._wire is None:
                self._wire = self._open()
            wire = self._wire
            self._was_sent = True
            wire.send(packed)
            meanwhile()
            self._look_for_reply(wire)
            return wire.read()
        except redis.ResponseError:
            raise  # the connection is as good as it was
        except BaseException:
            self._hang_up()
            raise
        finally:
            if self.on_answer is not None:
                self.on_answer(time.monotonic() - now)

    def _open(self) -> Wire:
        if self._is_ended:
            raise QueueClosedError("the queue is closed: use it inside `with queue:`")
        connection = self._connect()
        try:
            connection.connect()
            if self._check is not None:
                self._check(connection)
            return Wire(connection)
        except BaseException:
            connection.disconnect()
            raise

    def _hang_up(self) -> None:
        wire, self._wire = self._wire, None  # first: the next one may not come about
        if wire is not None:
            wire.close()

    def _look_for_reply(self, wire: Wire) -> None:
        """Look for the reply of a server that is near before going to sleep: waking up takes longer than that reply.

        Between looks whoever else wants this processor has it, which may be the server.
        """
        if self._sleeps > 0:
            self._sleeps -= 1
            return
        started, is_there, looked_seconds = time.monotonic(), False, 0.0
        while not is_there and looked_seconds <= LOOK_SECONDS:
            _yield_processor()
            is_there = wire.has_arrived()
            looked_seconds = time.monotonic() - started
        self._learn_from_looking(looked_seconds)

    def _learn_from_looking(self, looked_seconds: float) -> None:
        if looked_seconds <= LOOK_SECONDS:
            self._late, self._next_sleeps = 0, max(self._next_sleeps // 2, SLEEPS)
            return
        self._late += 1
        if self._late >= LATE or looked_seconds > CROWDED_SECONDS:
            self._late = LATE - 1  # one more is enough
            self._sleeps, self._next_sleeps = self._next_sleeps, min(self._next_sleeps * MORE_SLEEPS, MOST_SLEEPS)

    def end(self) -> None:
        """Close the connection for good; a command raises QueueClosedError from then on."""
        self._is_ended = True
        self.close()

    def close(self) -> None:
        """Close the connection; the next command opens another."""
        with self._lock:
            self._hang_up()
