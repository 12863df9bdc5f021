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
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link, Script

logger = logging.getLogger(__name__)

_ARRIVE = Script("arrive")
_POLICY = re.compile(rb"^maxmemory_policy:([\w-]+)", re.MULTILINE)
_HARMLESS = b"noeviction"


class SameServer:
    """Asks each new connection whether it leads to the server on which this root has joined; see ``arrive.lua``.

    One that was restarted, or has taken the other's place, may have lost the last writes and yet know the epoch.  It
    forgets it before anything else comes over that connection, so what another thread asks under it is refused.
    `leave_epoch` gets the epoch that the server has, b"" for none, makes this root join anew if it has joined in
    another one, and returns whether it had.  Thread safe.
    """

    def __init__(self, keys: Keys, leave_epoch: Callable[[bytes], bool]) -> None:
        names = [keys.next_event_id, keys.journal, keys.changes, keys.meta, keys.roots, keys.workers]
        self._names = [*names, keys.awaiting, keys.claims, keys.claim_ids, keys.claim_holders]
        self._leave_epoch = leave_epoch

    def check(self, connection: Any) -> None:
        """Ask over an open connection of redis-py.

        Raises:
            redis.ConnectionError: it is another server; the next connection is taken.
            redis.ResponseError: a key holds something else; the error names it.
        """
        connection.send_command("EVAL", _ARRIVE.text, len(self._names), *self._names, check_health=False)
        if self._leave_epoch(connection.read_response() or b""):
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
