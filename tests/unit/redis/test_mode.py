"""The mode of a queue towards Redis: what is logged, and what those are told who must wait."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

import pytest

from eventy_sync.errors import CoordinationError, QueueIdentityError, RedisConfigurationError
from eventy_sync.redis import mode as module
from eventy_sync.redis.mode import CONNECTED, DEGRADED, REJOINING, Mode
from eventy_sync.redis.translation import RedisUnavailableError

AWAY = RedisUnavailableError("the server is away", may_have_run=True)


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """INFO, too."""
    caplog.set_level(logging.INFO, module.logger.name)


def test_it_begins_by_joining() -> None:
    """Nobody may take it for connected before it is."""
    mode = Mode("orders")
    assert (mode.value, mode.error, mode.is_connected) == (REJOINING, None, False)
    assert datetime.now(timezone.utc) - mode.since < timedelta(seconds=30)


def test_each_change_is_logged_with_its_reason(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is well as INFO, what is not as WARNING."""
    monkeypatch.setattr(module, "LOG_INTERVAL_SECONDS", 0.0)
    mode = Mode("orders")
    mode.change(CONNECTED)
    mode.change(DEGRADED, AWAY)
    assert [(each.levelno, each.getMessage()) for each in caplog.records] == [
        (logging.INFO, "queue 'orders' is connected: reason=None changes_left_out=0"),
        (logging.WARNING, "queue 'orders' is degraded: reason=the server is away changes_left_out=0"),
    ]


def test_what_changes_nothing_is_no_change(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """An equal error is the same one; another one is taken, but not as a new beginning."""
    monkeypatch.setattr(module, "LOG_INTERVAL_SECONDS", 0.0)
    mode = Mode("orders")
    mode.change(DEGRADED, AWAY)
    since = mode.since
    mode.change(DEGRADED, CoordinationError(str(AWAY)))
    mode.change(DEGRADED)
    assert mode.error is AWAY
    assert len(caplog.records) == 1
    mode.change(DEGRADED, CoordinationError("something else"))
    assert str(mode.error) == "something else"
    assert mode.since == since
    assert len(caplog.records) == 2


def test_a_mode_that_flaps_is_logged_seldom(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left out is counted; every change is made all the same."""
    mode = Mode("orders")
    for _ in range(3):
        mode.change(DEGRADED, AWAY)
        mode.change(CONNECTED)
    assert mode.is_connected
    assert mode.error is None
    assert len(caplog.records) == 1
    monkeypatch.setattr(module, "LOG_INTERVAL_SECONDS", 0.0)  # five seconds later
    mode.change(DEGRADED, AWAY)
    assert [each.getMessage().rpartition(" ")[2] for each in caplog.records] == [
        "changes_left_out=0",
        "changes_left_out=5",
    ]


def test_the_mode_that_it_stays_in_is_logged_in_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who loses Redis right after opening is told so by the log, though a little later."""
    mode = Mode("orders")
    mode.change(CONNECTED)
    mode.change(DEGRADED, AWAY)
    mode.log_what_was_left_out()
    assert len(caplog.records) == 1
    monkeypatch.setattr(module, "LOG_INTERVAL_SECONDS", 0.0)  # five seconds later
    for _ in range(2):
        mode.log_what_was_left_out()
    assert [each.getMessage() for each in caplog.records[1:]] == [
        "queue 'orders' is degraded: reason=the server is away changes_left_out=0"
    ]


@pytest.mark.parametrize("error", [AWAY, CoordinationError("too slow"), None])
def test_what_will_pass_is_refused_with_what_to_do_meanwhile(error: CoordinationError | None) -> None:
    """Since when, why, and what if it will not pass."""
    mode = Mode("orders")
    mode.change(DEGRADED, error)
    refusal = mode.refusal("the event was not published")
    assert type(refusal) is CoordinationError
    assert str(refusal) == (
        f"the event was not published: degraded since {mode.since:%H:%M:%S} UTC ({error or 'not connected yet'}), and "
        "other roots have this queue, so it would not be safe; wait until Redis is back, or, if the other roots are "
        "gone for good, forget them: eventy-sync forget-root"
    )


@pytest.mark.parametrize("kind", [QueueIdentityError, RedisConfigurationError])
def test_what_will_not_pass_is_refused_as_itself(kind: type[CoordinationError]) -> None:
    """Waiting would not help, so nobody is told to wait."""
    mode = Mode("orders")
    mode.change(DEGRADED, kind("choose another name"))
    refusal = mode.refusal("the claim was not taken")
    assert type(refusal) is kind
    assert str(refusal) == "the claim was not taken: choose another name"
