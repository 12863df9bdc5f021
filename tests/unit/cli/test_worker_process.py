"""When a process that died is started again, and how its end is told."""

from __future__ import annotations

import signal

import pytest

from eventy_sync.cli.worker_process import QUICK_SECONDS, RestartPauses, describe_status


def test_pauses_grow_while_processes_die_soon() -> None:
    """None at first, then seconds that double, half a minute in the end."""
    pauses = RestartPauses()
    assert [pauses.after(0.1) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert [pauses.after(0.1) for _ in range(2000)][-1] == 30


def test_a_process_that_lived_is_replaced_at_once() -> None:
    """What was before it is forgotten."""
    pauses = RestartPauses()
    for _ in range(5):
        pauses.after(0.1)
    assert pauses.after(QUICK_SECONDS) == 0
    assert [pauses.after(0.1) for _ in range(2)] == [0, 1]


@pytest.mark.parametrize(
    ("status", "said"),
    [(0, "exit status 0"), (3, "exit status 3"), (-signal.SIGKILL, "SIGKILL"), (-99, "signal 99")],
)
def test_an_exit_status_is_told_in_words(status: int, said: str) -> None:
    """Signals by name, if they have one."""
    assert describe_status(status) == said
