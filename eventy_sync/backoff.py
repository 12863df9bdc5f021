"""How long a failed event waits for its next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass

from eventy_sync.errors import InvalidArgumentError

LONGEST_SECONDS = 30 * 86_400.0


def check_number(name: str, value: object, least: float, most: float, otherwise: str = "") -> None:
    """Refuse what is not a number in these bounds.

    Raises:
        InvalidArgumentError: it is not; the message has `otherwise` after the bounds.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:  # type: ignore[operator]
        raise InvalidArgumentError(f"{name} is a number from {least} to {most:.0f}{otherwise}, not {value!r:.50}")


@dataclass(frozen=True)
class Backoff:
    """Waits `first_seconds` after the first failure, `factor` times as long after each further one.

    At most `max_seconds`; `jitter` is the share by which each wait is shortened or lengthened at random, so that
    events that failed together do not come back together.

    Raises:
        InvalidArgumentError: a field is out of range.
    """

    first_seconds: float = 1.0
    factor: float = 2.0
    max_seconds: float = 3600.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        check_number("first_seconds", self.first_seconds, 0, LONGEST_SECONDS)
        check_number("factor", self.factor, 1, 1000)
        check_number("max_seconds", self.max_seconds, 0, LONGEST_SECONDS)
        check_number("jitter", self.jitter, 0, 1)

    def delay_seconds(self, attempts: int) -> float:
        """Return how long to wait after so many attempts."""
        try:
            seconds = min(self.first_seconds * float(self.factor) ** (attempts - 1), self.max_seconds)
        except OverflowError:
            seconds = self.max_seconds
        return seconds * random.uniform(1 - self.jitter, 1 + self.jitter)


DEFAULT_BACKOFF = Backoff()


def as_backoff(backoff: Backoff | float) -> Backoff:
    """Return a backoff; a number is one that waits so many seconds each time.

    Raises:
        InvalidArgumentError: it is neither.
    """
    if isinstance(backoff, Backoff):
        return backoff
    check_number("backoff", backoff, 0, LONGEST_SECONDS, " or a Backoff(first_seconds=…, factor=…)")
    return Backoff(first_seconds=backoff, factor=1.0, max_seconds=backoff)
