"""The mode of a queue towards Redis: connected, degraded, rejoining; and who must be told when it changes."""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timezone

from eventy_sync.errors import CoordinationError, QueueIdentityError, RedisConfigurationError

logger = logging.getLogger(__name__)

CONNECTED, DEGRADED, REJOINING = "connected", "degraded", "rejoining"
LOG_INTERVAL_SECONDS = 5.0
"""However often the mode flaps, it is logged so seldom; what was left out is counted, and where it ends is logged."""


class Mode:
    """Thread safe.  `error` is why it is not connected."""

    def __init__(self, queue_name: str) -> None:
        self._queue_name = queue_name
        self._lock = threading.Lock()
        # guarded by _lock; `value` may be read without it
        self.value = REJOINING
        self.error: CoordinationError | None = None
        self.since = datetime.now(timezone.utc)
        self._logged_at = 0.0
        self._unlogged = 0  # changes; read without the lock

    @property
    def is_connected(self) -> bool:
        """Whether Redis can be asked."""
        return self.value == CONNECTED

    def change(self, value: str, error: CoordinationError | None = None) -> None:
        """Go into a mode."""
        with self._lock:
            if value == self.value and (error is None or str(error) == str(self.error)):
                return
            is_new = value != self.value
            self.value, self.error = value, error
            if is_new:
                self.since = datetime.now(timezone.utc)
            self._unlogged += 1
            self._log_locked()

    def log_what_was_left_out(self) -> None:
        """Log the mode if the change to it came too soon after another.  Called now and then."""
        if self._unlogged:
            with self._lock:
                self._log_locked()

    def _log_locked(self) -> None:
        now = time.monotonic()
        if not self._unlogged or (now - self._logged_at < LOG_INTERVAL_SECONDS and self._logged_at):
            return
        left_out, self._logged_at, self._unlogged = self._unlogged - 1, now, 0
        level = logging.INFO if self.error is None else logging.WARNING
        logger.log(
            level, "queue %r is %s: reason=%s changes_left_out=%d", self._queue_name, self.value, self.error, left_out
        )

    def refusal(self, what: str) -> CoordinationError:
        """Return the error for what cannot be done safely in this mode."""
        with self._lock:
            if isinstance(self.error, (QueueIdentityError, RedisConfigurationError)):
                return type(self.error)(f"{what}: {self.error}")  # waiting will not help
            return CoordinationError(
                f"{what}: {self.value} since {self.since:%H:%M:%S} UTC ({self.error or 'not connected yet'}), and "
                "other roots have this queue, so it would not be safe; wait until Redis is back, or, if the other "
                "roots are gone for good, forget them: eventy-sync forget-root"
            )
