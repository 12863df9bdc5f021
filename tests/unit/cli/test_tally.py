"""The numbers of the bar."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from eventy_sync import FileEventQueue
from eventy_sync.cli.tally import Question, Tally, Totals, read_totals
from eventy_sync.identifiers import new_id
from eventy_sync.models import EventResult

NOW = datetime.now(timezone.utc)


def result(at: datetime, success: bool) -> EventResult:
    """Return a result of that time."""
    return EventResult(id=new_id(at), event_id=1, worker_id=uuid4(), success=success, details=None, created_at=at)


@pytest.fixture
def queue(tmp_path: Path) -> Any:
    """A queue with three results that are old and two that are new; of each a failed one."""
    with FileEventQueue[Any](tmp_path / "orders") as queue:
        old = [result(NOW - timedelta(hours=1), success) for success in (True, True, False)]
        queue._opened().store.results.add_many([*old, result(NOW, True), result(NOW, False)])
        yield queue


def test_totals_tell_the_old_from_the_new(queue: FileEventQueue[Any]) -> None:
    """What has come since the start is counted by time once, by the growth of the total later."""
    first = read_totals(queue, Question(NOW, is_first=True))
    assert (first.results, first.since, first.failed, first.lag) == (5, 2, 1, None)
    assert read_totals(queue, Question(NOW, is_first=False)).since is None


def test_lag_is_that_of_all_groups(queue: FileEventQueue[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """None without groups: a broadcast subscription has no place that is kept."""
    stats = {**queue.stats(), "groups": {"billing": {"lag": 40}, "mail": {"lag": 2}}}
    monkeypatch.setattr(queue, "stats", lambda: stats)
    assert read_totals(queue, Question(NOW, is_first=False)).lag == 42


def test_the_line_counts_from_the_start() -> None:
    """Thousands are set apart; one process is one process; lag is said where there is one."""
    tally = Tally(NOW)
    assert tally.text(0) == "starting · 0 processes"
    tally.take(Totals(results=5_000, since=2, failed=1, lag=None, cost_seconds=0))
    assert " · ".join(tally.text(1).split(" · ")[1:]) == "failed 1 · 1 process"
    tally.take(Totals(results=17_343, since=None, failed=3, lag=1042, cost_seconds=0))
    assert tally.text(4).startswith("handled 12,345 (")
    assert tally.text(4).endswith("/s) · failed 3 · lag 1,042 · 4 processes")


def test_results_that_retention_drops_do_not_count_below_nothing() -> None:
    """The total may shrink."""
    tally = Tally(NOW)
    tally.take(Totals(results=5, since=0, failed=0, lag=None, cost_seconds=0))
    tally.take(Totals(results=3, since=None, failed=0, lag=None, cost_seconds=0))
    assert tally.text(1) == "handled 0 (0/s) · failed 0 · 1 process"


def test_reading_that_takes_long_is_done_less_often() -> None:
    """It is asked for at once, again after half a second, and less often where it costs."""
    tally = Tally(NOW)
    assert tally.question() == Question(NOW, is_first=True)
    tally.take(Totals(results=5, since=0, failed=0, lag=None, cost_seconds=10))
    assert tally.question() is None
    assert tally.seconds_to_question() == pytest.approx(200, abs=5)
