"""What a queue hands out: events, results, claims, subscriptions, and pages of them.

All are frozen.  `QueueEvent` is a msgspec struct, because one is made for every event that is published
or read and a frozen dataclass takes seven times as long to make; the others are dataclasses.
Times are aware UTC datetimes; ids of results, subscriptions and workers are UUIDs; ids of events are
integers that start at 1 and grow by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

T = TypeVar("T")


class QueueEvent(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """One published payload.  `created_at` never goes backwards from one event to the next inside a segment.

    `key` and `deliver_at` are what it was published with: no second event has this key for a while, and it is
    handed out to subscribers from that time on.
    """

    id: int
    payload: T
    created_at: datetime
    key: str | None = None
    deliver_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventResult:
    """What came of one run of one subscriber on one event.

    `details` is the text a handler returned, or the exception and the end of its traceback.
    `token` is the fencing token under which the handler ran; a `stale` result came in under a token
    that had already been overtaken, and counts for nothing.
    """

    id: UUID
    event_id: int
    worker_id: UUID
    success: bool
    details: str | None
    created_at: datetime
    subscription_id: UUID | None = None
    group: str | None = None
    attempt: int = 1
    token: int | None = None
    duration_seconds: float = 0.0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """An exclusive hold on a name, until `expires_at`.

    `token` grows with every grant in the queue: hand it to whatever the claim protects, and let that
    refuse a smaller one.  `data` is what the holder gave, as plain JSON values.
    """

    id: str
    worker_id: UUID
    created_at: datetime
    data: Any
    token: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Subscription(Generic[T]):
    """A subscriber and its place: it gets every event from id `from_index` on.

    `subscriber` is the callable or `Subscriber`, or None where a stored subscriber's class is not
    imported in this process.  `stored` ones are known to every worker of the queue.
    """

    id: UUID
    subscriber: T
    created_at: datetime
    from_index: int
    stored: bool = False


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a group has given up.  `details` is the last exception and the end of its traceback."""

    event_id: int
    group: str
    attempts: int
    details: str
    worker_id: UUID
    first_attempt_at: datetime
    died_at: datetime


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """How a group is doing.

    `next_id` is the first event that was never handed out.  `lag` events are not finished: those from there
    on, `leased` ones that workers have, and `waiting` ones that wait for their time or another attempt.  `dead` are
    the dead letters, which are not in the lag.
    """

    name: str
    next_id: int
    lag: int
    leased: int
    waiting: int
    dead: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of the answers.  Pass `next_page_id` back to get the next ones; None means there are no more."""

    items: list[T]
    next_page_id: str | None
