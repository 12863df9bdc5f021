"""How a subscriber takes part in a group."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eventy_sync.backoff import DEFAULT_BACKOFF, Backoff, as_backoff, check_number
from eventy_sync.errors import InvalidArgumentError
from eventy_sync.group_work import LEASE_SECONDS, MAX_ATTEMPTS

MOST_ATTEMPTS = 1000
MAX_CONCURRENCY = 1000
SHORTEST_LEASE_SECONDS, LONGEST_LEASE_SECONDS = 0.1, 86_400.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class GroupOptions:
    """See `EventQueue.subscribe`.

    Raises:
        InvalidArgumentError: a field is out of range.
    """

    name: str
    max_attempts: int
    backoff: Backoff
    concurrency: int
    lease_seconds: float

    def __post_init__(self) -> None:
        check_group(self.name)
        _check_count("max_attempts", self.max_attempts, MOST_ATTEMPTS)
        _check_count("concurrency", self.concurrency, MAX_CONCURRENCY)
        check_number("lease_seconds", self.lease_seconds, SHORTEST_LEASE_SECONDS, LONGEST_LEASE_SECONDS)

    def settings(self) -> str:
        """Return them as they are written in a call, the name apart."""
        return (
            f"max_attempts={self.max_attempts}, backoff={self.backoff}, concurrency={self.concurrency}, "
            f"lease_seconds={self.lease_seconds}"
        )


def make_options(
    name: str | None,
    max_attempts: int,
    backoff: Backoff | float,
    concurrency: int,
    lease_seconds: float,
    is_concurrency_given: bool,
) -> GroupOptions | None:
    """Return the options that `subscribe` was given, all checked; None without a group.

    Raises:
        InvalidArgumentError: one is out of range, or there is one and no group.
    """
    if name is not None:
        return GroupOptions(name, max_attempts, as_backoff(backoff), concurrency, lease_seconds)
    if is_concurrency_given or (max_attempts, backoff, lease_seconds) != (MAX_ATTEMPTS, DEFAULT_BACKOFF, LEASE_SECONDS):
        raise InvalidArgumentError(
            "max_attempts, backoff, concurrency and lease_seconds are options of a group: give group=, too"
        )
    return None


def check_group(name: object) -> str:
    """Return the name if it can be a group's.

    Raises:
        InvalidArgumentError: it cannot.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            "a group's name is 1 to 100 letters, digits, points, hyphens and underscores of ASCII, a letter or digit "
            f"first, not {name!r:.120}"
        )
    return name


def _check_count(what: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidArgumentError(f"{what} is a whole number from 1 to {most}, not {value!r:.50}")
