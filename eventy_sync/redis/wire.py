"""A wire: an open connection of redis-py, and the kernel's socket below it for what is short.

What a publish sends, and is told, is one piece each.  On its way through the client's layers, and through sockets of
Python's that have a timeout, it asks the kernel seven times in place of three, and each call lets go of the
interpreter.  So it goes through the socket itself where that is an ordinary one, and through the client, which knows
the protocol, where it is anything else: over TLS, long, in pieces, or an error.
"""

from __future__ import annotations

import socket
from typing import Any

import redis

from eventy_sync.waking import close_in_children

SHORT_BYTES = 256
"""Replies up to this are looked for whole."""


class Wire:
    """Carries one command and its reply at a time.  Not thread safe.

    The connection is open, speaks RESP2, returns bytes, and has a timeout; its errors are redis-py's.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._socket = _beside(connection)
        self._seen = b""  # what has arrived, as far as it was looked at; it is still to be read

    def send(self, packed: bytes) -> None:
        """Send a command, which is packed."""
        sent = 0
        if self._socket is not None:
            try:
                sent = self._socket.send(packed)
            except OSError:
                pass  # none of it was sent, and the client meets the same
        if sent < len(packed):
            self._connection.send_packed_command([packed[sent:]], check_health=False)

    def has_arrived(self) -> bool:
        """Look whether there is anything to read, or the end, without waiting."""
        try:
            if self._socket is None:
                return bool(self._connection.can_read(0))
            self._seen = self._socket.recv(SHORT_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except (redis.RedisError, OSError):
            pass  # whoever reads meets it
        return True

    def read(self) -> Any:
        """Return the next reply, waiting for it as long as the connection's timeout says."""
        seen, self._seen = self._seen, b""
        reply = _whole(seen)
        if reply is None or self._socket is None:
            return self._connection.read_response()
        self._socket.recv(len(seen))
        return reply

    def close(self) -> None:
        """Close the connection, once or twice."""
        self._connection.disconnect()
        if self._socket is not None:
            self._socket.close()


def _beside(connection: Any) -> socket.socket | None:
    """Return the connection's socket once more, to be used without waiting, or None if it is not an ordinary one."""
    own = getattr(connection, "_sock", None)  # so called in all versions of redis-py
    if type(own) is not socket.socket or own.gettimeout() is None:
        return None
    beside = own.dup()
    close_in_children(beside)
    beside.setblocking(False)  # as the kernel has it for both already: with a timeout, Python waits by itself
    return beside


def _whole(seen: bytes) -> bytes | int | None:
    """Return the string or number that is all there is, or None if it is not that."""
    begin = seen.find(b"\r\n") + 2
    kind, number = seen[:1], seen[1 : max(1, begin - 2)]
    if kind == b"$" and number.isdigit():
        end = begin + int(number)
        return seen[begin:end] if end + 2 == len(seen) else None
    if kind == b":" and number.removeprefix(b"-").isdigit():
        return int(number) if begin == len(seen) else None
    return None
