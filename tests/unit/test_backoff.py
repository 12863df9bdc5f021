"""How long a failed event waits."""

from __future__ import annotations

from typing import Any

import pytest

from eventy_sync import Backoff, InvalidArgumentError, RetryEvent
from eventy_sync.backoff import LONGEST_SECONDS, as_backoff


def test_waits_grow_by_their_factor_up_to_the_longest() -> None:
    """From the first one on."""
    backoff = Backoff(first_seconds=0.5, factor=3, max_seconds=10, jitter=0)
    assert [backoff.delay_seconds(attempts) for attempts in (1, 2, 3, 4, 1000)] == [0.5, 1.5, 4.5, 10, 10]


def test_no_number_of_attempts_is_too_large() -> None:
    """A power that no float can hold is the longest wait."""
    assert Backoff(1, 1000, 60, 0).delay_seconds(10**6) == 60


def test_jitter_shortens_and_lengthens_by_its_share() -> None:
    """Within it, and to both sides."""
    waits = [Backoff(10, 1, 10, jitter=0.2).delay_seconds(1) for _ in range(300)]
    assert 8 <= min(waits) < 9.5
    assert 10.5 < max(waits) <= 12


def test_a_number_is_a_backoff_that_waits_as_long_each_time() -> None:
    """Give or take its jitter; a Backoff stays what it is."""
    assert as_backoff(5) == Backoff(5, 1.0, 5)
    assert all(4.5 <= as_backoff(5.0).delay_seconds(attempts) <= 5.5 for attempts in (1, 2, 50))
    assert as_backoff(0).delay_seconds(3) == 0
    own = Backoff(3)
    assert as_backoff(own) is own


@pytest.mark.parametrize("name", ["first_seconds", "factor", "max_seconds", "jitter"])
@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), float("inf"), 10**400, "1", None, True, 1j])
def test_a_field_that_is_out_of_range_is_refused(name: str, value: Any) -> None:
    """With its name."""
    with pytest.raises(InvalidArgumentError, match=f"^{name} is a number from "):
        Backoff(**{name: value})


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e300, 10**400, "1", None, True])
def test_a_delay_that_is_out_of_range_is_refused(value: Any) -> None:
    """By the signal itself, so that it is the handler's own failure."""
    with pytest.raises(InvalidArgumentError, match=r"^delay_seconds is a number from 0 to 2592000, not "):
        RetryEvent(delay_seconds=value)
    assert RetryEvent(LONGEST_SECONDS).delay_seconds == LONGEST_SECONDS
