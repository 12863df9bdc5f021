"""What workers and the state of a group tell each other: leases, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from eventy_sync.models import EventResult
from eventy_sync.storage.state.result_runs import ResultRun


class Lease(NamedTuple):
    """Consecutive events that one worker has, all on the same attempt; both ends included.

    `attempt` counts from 1 and is counted already.  `token` grows with every lease of the group.
    """

    first_id: int
    last_id: int
    attempt: int
    token: int


class Retry(NamedTuple):
    """An event that is to be handled again in so many seconds; `attempts` of it have counted so far.

    One that was handed out before its time and not begun has that time as `due_at`, in microseconds since 1970, UTC.
    """

    event_id: int
    token: int
    attempts: int
    delay_seconds: float
    due_at: int = 0


class Death(NamedTuple):
    """An event that has failed for good; `details` has the last traceback."""

    event_id: int
    token: int
    attempts: int
    details: str


@dataclass
class Settlement:
    """What came of leased events.  Each is in one of `done`, `retries`, `deaths` and `returned`.

    `done` holds parts of leases that are finished.  `returned` parts were not begun: their attempt does not count.
    `runs` and `results` are what is kept of the handlers' runs; each carries its lease's token.
    """

    done: list[Lease] = field(default_factory=list)
    runs: list[ResultRun] = field(default_factory=list)
    results: list[EventResult] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    returned: list[Lease] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.done or self.retries or self.deaths or self.returned or self.results)

    def joined(self, later: Settlement) -> Settlement:
        """Return this and what came later as one."""
        return Settlement(*(getattr(self, each) + getattr(later, each) for each in self.__dataclass_fields__))

    def tokens(self) -> set[int]:
        """Return the tokens of the leases that this settles, wholly or in part."""
        return {each.token for part in (self.done, self.retries, self.deaths, self.returned) for each in part}

    def ranges(self, token: int) -> list[tuple[int, int]]:
        """Return what is settled of one lease."""
        whole = [each[:2] for part in (self.done, self.returned) for each in part if each.token == token]
        single = [(each.event_id,) * 2 for part in (self.retries, self.deaths) for each in part if each.token == token]
        return whole + single


class Want(NamedTuple):
    """What a worker would like to have: up to `limit` events with ids from `oldest` up to `tail`, which its root has.

    Those before `lost_before`, which is at most `oldest`, no root has any more: they are leased to be passed over.
    """

    limit: int
    tail: int
    lease_seconds: float
    max_attempts: int
    oldest: int = 1
    lost_before: int = 1


class Taken(NamedTuple):
    """Leases, in the order of their events, and the seconds until more may become due, None if nothing waits."""

    leases: list[Lease]
    wait_seconds: float | None
