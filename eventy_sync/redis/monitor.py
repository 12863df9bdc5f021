"""The monitor: a daemon thread on ``pubsub.listen()`` that never dies.

Every confirmation of the subscription, the first and those after a reconnection, means that something may
have been missed.  This worker's own heartbeats come back through the channel; when nothing at all arrives for
`SILENCE_SECONDS`, the connection is dead, however open it looks.  ``listen()`` itself waits for ever, so another
thread has to `break_if_silent`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import redis

from eventy_sync.redis.pool import ServerPool
from eventy_sync.redis.translation import translated

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 15.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0


class Monitor:
    """Verbs: start, stop, join.

    `on_message` gets what is published, and what says whether more has arrived since; `on_subscribed` is called when
    something may have been missed.
    """

    def __init__(
        self,
        name: str,
        pool: ServerPool,
        channel: str,
        on_subscribed: Callable[[], None],
        on_message: Callable[[bytes, Callable[[], bool]], None],
    ) -> None:
        patient = pool.twin(socket_timeout=SILENCE_SECONDS)  # which some versions of redis-py heed in listen()
        self._client: Any = redis.Redis(connection_pool=patient)
        self._channel = channel
        self._on_subscribed, self._on_message = on_subscribed, on_message
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()
        # guarded by _lock
        self._pubsub: Any = None
        # written by the thread, a hint for others
        self._heard_at = time.monotonic()

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for an end.  Returns at once; join to wait."""
        self._stopping.set()
        with self._lock:
            if self._pubsub is not None:
                try:
                    self._pubsub.unsubscribe()  # ends listen()
                except (redis.RedisError, OSError, AttributeError):
                    logger.debug("unsubscribing failed: the connection is gone already")

    def break_if_silent(self) -> None:
        """Close the connection if it has been silent for too long; another is made then.  Never raises."""
        if time.monotonic() - self._heard_at < SILENCE_SECONDS:
            return
        self._heard_at = time.monotonic()
        with self._lock:
            connection = None if self._pubsub is None else self._pubsub.connection
        if connection is not None:
            logger.info("listening to a connection that has been silent for %.0f s: closing it", SILENCE_SECONDS)
            try:
                connection.disconnect()  # shuts the socket down, which ends the wait
            except (redis.RedisError, OSError, AttributeError):
                logger.debug("closing failed: the connection is gone already")

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_seconds)
        self._client.connection_pool.disconnect()

    def _run(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            try:
                self._listen()
                pause_seconds = FIRST_PAUSE_SECONDS
            except (
                redis.RedisError,
                OSError,
                ValueError,
                AttributeError,
            ) as exc:  # the last two: closed by another thread
                logger.info("listening interrupted: reason=%s", translated(exc))
            if self._stopping.wait(pause_seconds * random.uniform(0.5, 1.5)):
                return
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def _has_more(self) -> bool:
        try:
            return bool(self._pubsub.connection.can_read(0))
        except (redis.RedisError, OSError, AttributeError):
            return False  # it is over, which listen() finds, too

    def _listen(self) -> None:
        pubsub = self._client.pubsub()
        try:
            with self._lock:
                if self._stopping.is_set():
                    return
                pubsub.subscribe(self._channel)
                self._pubsub = pubsub
            for message in pubsub.listen():
                self._heard_at = time.monotonic()
                if self._stopping.is_set():
                    return
                if message["type"] == "subscribe":
                    self._on_subscribed()
                elif message["type"] == "message":
                    self._on_message(message["data"], self._has_more)
        finally:
            with self._lock:
                self._pubsub = None
            pubsub.close()
