"""A link: one connection to Redis, and the scripts over it.

Commands are packed here rather than by the client, whose own packing is most of the time of a publish;
the connection itself, its TLS, its sockets and its parser are redis-py's.  Nothing is ever retried: a
command whose reply is lost may have been done, and whoever sent it must find out.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, NamedTuple, Union

import redis

from eventy_sync.redis.translation import translated

IDLE_SECONDS = 0.05
"""A connection that was not used for so long may have been closed: looking first tells "not sent" from "unknown"."""

Argument = Union[bytes, str, int]


def pack(arguments: Sequence[Argument]) -> bytes:
    """Return arguments as they go over the wire, one after the other."""
    encoded = [each if isinstance(each, bytes) else str(each).encode() for each in arguments]
    return b"".join([b"$%d\r\n%b\r\n" % (len(each), each) for each in encoded])


class Script:
    """A Lua script of this package, known by its name and its SHA-1."""

    def __init__(self, name: str) -> None:
        self.text = (resources.files("eventy_sync.redis") / "lua" / f"{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()

    def prepare(self, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Call:
        """Return a call of this script with these keys, and first arguments that are always the same."""
        rest = pack([len(keys), *keys, *arguments])
        count = 3 + len(keys) + len(arguments)
        return Call(count, pack(["EVALSHA", self.sha]) + rest, pack(["EVAL", self.text]) + rest)


class Call(NamedTuple):
    """A script, packed as far as it is always the same.  `by_text` serves when the server does not know the script."""

    arguments: int
    by_sha: bytes
    by_text: bytes


class Link:
    """One connection, opened when it is first needed.  Thread safe: one command at a time.

    `connect` makes a connection of redis-py that is not open yet.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        # guarded by _lock
        self._connection: Any = None
        self._used_at = 0.0

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a script and return its reply.

        Raises:
            RedisUnavailableError: the server cannot be had; whether the script ran is unknown.
            RedisConfigurationError: the server refuses for good.
        """
        return self.call(script.prepare(keys), len(arguments), pack(arguments))

    def call(self, call: Call, count: int, packed: bytes) -> Any:
        """Run a prepared script with so many more arguments, packed already; raises as `run` does."""
        count += call.arguments
        with self._lock:
            try:
                return self._send(b"*%d\r\n%b%b" % (count, call.by_sha, packed))
            except redis.exceptions.NoScriptError:
                return self._send_or_raise(b"*%d\r\n%b%b" % (count, call.by_text, packed))
            except (redis.RedisError, OSError) as exc:
                raise translated(exc) from exc

    def command(self, *arguments: Argument) -> Any:
        """Run one command and return its reply; raises as `run` does."""
        with self._lock:
            return self._send_or_raise(b"*%d\r\n%b" % (len(arguments), pack(arguments)))

    def _send_or_raise(self, packed: bytes) -> Any:
        try:
            return self._send(packed)
        except (redis.RedisError, OSError) as exc:
            raise translated(exc) from exc

    def _send(self, packed: bytes) -> Any:
        connection, now = self._connection, time.monotonic()
        try:
            if connection is not None and now - self._used_at > IDLE_SECONDS and connection.can_read(0):
                connection.disconnect()  # nothing is owed to us: the server has closed it meanwhile
                connection = None
            self._used_at = now
            if connection is None:
                connection = self._connect()
                connection.connect()
                self._connection = connection
            connection.send_packed_command([packed], check_health=False)
            return connection.read_response()
        except redis.ResponseError:
            raise  # the connection is as good as it was
        except BaseException:
            self._connection = None
            if connection is not None:
                connection.disconnect()
            raise

    def close(self) -> None:
        """Close the connection; the next command opens another."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.disconnect()
