"""The numbers that all processes of a root share, as they are now: what each costs does not grow with the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eventy_sync.models import GroupInfo
from eventy_sync.storage.state import HandlingTime

if TYPE_CHECKING:
    from eventy_sync.file.abstract_queue import AbstractFileEventQueue


@dataclass(frozen=True)
class Readings:
    """`tail` is how many ids were given out, `kept` how many events retention has left.

    `successes` and `failures` count results and only grow; `handling_times` has those of handlers in no group under
    the empty name.  `claims` without Redis are those of this root.
    """

    mode: str
    tail: int
    kept: int
    successes: int
    failures: int
    claims: int
    groups: list[GroupInfo]
    handling_times: dict[str, HandlingTime]


def take_readings(queue: AbstractFileEventQueue[Any]) -> Readings:
    """Return the numbers of an open queue.  Thread safe.

    Raises:
        QueueClosedError: it is not open.
        StorageError: they cannot be read.
    """
    engine = queue._up_to_date()
    store, tail = engine.store, engine.log.tail()
    claims = queue.count_claims()  # first: it may find that Redis is gone
    successes, failures = store.results.totals()
    return Readings(
        mode=engine.coordinator.health()["mode"],
        tail=tail,
        kept=tail - engine.log.oldest() + 1,
        successes=successes,
        failures=failures,
        claims=claims,
        groups=engine.coordinator.leases.info(tail),
        handling_times=store.handling_times.read(),
    )
