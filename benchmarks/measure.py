"""What every benchmark measures with, and the payload that all of them carry."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

PAYLOAD = {"message": "hello world", "n": 12345, "user": "alice", "text": "x" * 120}
ROUNDS = 5


def rate(count: int, work: Callable[[], object]) -> float:
    """Return how many a second."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def median_rates(count: int, works: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median rate of each, taken in turn so that a machine's moods meet all of them."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(rate(count, work))
    return {name: statistics.median(rates) for name, rates in found.items()}


def repeat(count: int, call: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls so often."""

    def work() -> None:
        for _ in range(count):
            call()

    return work


def milliseconds(call: Callable[[], object], times: int = 200) -> float:
    """Return the median time of a call."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000
