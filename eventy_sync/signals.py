"""Control signals: what a handler raises to steer delivery.  They are not errors."""

from __future__ import annotations

import math

from eventy_sync.errors import InvalidArgumentError


class SkipEvent(Exception):
    """This event is not for this subscriber: no result is kept, and delivery goes on with the next."""


class RetryEvent(Exception):
    """Run the handler on this event again, after `delay_seconds`.

    Later events of the same subscriber wait for it, because they come in order.

    Raises:
        InvalidArgumentError: the delay is negative or not a finite number.
    """

    def __init__(self, delay_seconds: float = 1.0) -> None:
        if not isinstance(delay_seconds, (int, float)) or not (0 <= delay_seconds < math.inf):
            raise InvalidArgumentError(f"delay_seconds must be a number from 0 on, not {delay_seconds!r:.50}")
        super().__init__(delay_seconds)
        self.delay_seconds = delay_seconds
