"""Control signals: what a handler raises to steer delivery.  They are not errors."""

from __future__ import annotations

from eventy_sync.backoff import LONGEST_SECONDS, check_number


class SkipEvent(Exception):
    """This event is not for this subscriber: no result is kept, and delivery goes on with the next."""


class RetryEvent(Exception):
    """Run the handler on this event again, after `delay_seconds`, 30 days at most.

    Later events of the same subscriber wait for it, because they come in order; those of a group do not.  In a group
    it counts as no attempt.

    Raises:
        InvalidArgumentError: the delay is no number, negative or too long.
    """

    def __init__(self, delay_seconds: float = 1.0) -> None:
        check_number("delay_seconds", delay_seconds, 0, LONGEST_SECONDS)
        super().__init__(delay_seconds)
        self.delay_seconds = delay_seconds
