"""What a server says of itself: whether it is the one of before, and whether it may evict claims.

Where one cannot ask (``INFO`` is not permitted, or not known), neither is known and nothing is said.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import redis

from eventy_sync.errors import RedisConfigurationError
from eventy_sync.redis.link import Link

logger = logging.getLogger(__name__)

_RUN_ID = re.compile(rb"^run_id:(\w+)", re.MULTILINE)
_POLICY = re.compile(rb"^maxmemory_policy:([\w-]+)", re.MULTILINE)
_HARMLESS = b"noeviction"


class SameServer:
    """Asks each new connection whether it leads to the server of before.

    One that was restarted, or has taken the other's place, may have lost the last writes and yet know the epoch.
    `forget_epoch` makes this root join anew, and returns whether it had joined.  Thread safe.
    """

    def __init__(self, forget_epoch: Callable[[], bool]) -> None:
        self._forget_epoch = forget_epoch
        self._run_id: bytes | None = None

    def check(self, connection: Any) -> None:
        """Ask over an open connection of redis-py.

        Raises:
            redis.ConnectionError: it is another server; the next connection is taken.
        """
        connection.send_command("INFO", "server", check_health=False)
        try:
            found = _RUN_ID.search(connection.read_response())
        except redis.ResponseError:  # not permitted, or a server that does not know it
            return
        before, self._run_id = self._run_id, found[1] if found else None
        if before is not None and before != self._run_id and self._forget_epoch():
            raise redis.ConnectionError("the server was restarted, or another one has taken its place")


class EvictionWarning:
    """Warns, once, when the server may evict keys."""

    def __init__(self, queue_name: str, link: Link) -> None:
        self._queue_name, self._link = queue_name, link
        self._is_done = False

    def look(self) -> None:
        """Ask the server, the first time.

        Raises:
            RedisUnavailableError: Redis cannot be had.
        """
        if self._is_done:
            return
        try:
            found = _POLICY.search(self._link.command("INFO", "memory"))
        except RedisConfigurationError:
            found = None
        self._is_done = True
        if found and found[1] != _HARMLESS:
            logger.warning(
                "the server may evict keys, and so give a claim to two workers: queue=%r maxmemory-policy=%s; "
                "set it to noeviction, or give the queue a server of its own",
                self._queue_name,
                found[1].decode(),
            )
