"""The story of one event in order of time: published, handed out, handled or not, and where it is now.

It is read from this root's files.  Where the root has joined others, other roots may know later things.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

from eventy_sync.delivery.failures import printable
from eventy_sync.file.diagnosis.finding import counted
from eventy_sync.file.events import check_event_id
from eventy_sync.file.identity import STATE_FILE, read_identity
from eventy_sync.file.marking import time_of
from eventy_sync.models import Claim, DeadLetter, EventResult
from eventy_sync.storage.log import LogView, StoredRecord
from eventy_sync.storage.state import EventInGroup, StateView

_PAGE = 1000
_NOW = datetime.max.replace(tzinfo=timezone.utc)
"""Comes last."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to an event, or will; `at` is None for what is so now.

    `text` says it to a person, `kind` and `facts` to a program.  Handlers' tracebacks are shown by their last line.
    """

    at: datetime | None
    kind: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of one event; `is_shared` where other roots may know more."""

    event_id: int
    steps: list[Step]
    is_shared: bool


def tell_story(root: Path, event_id: int) -> Story:
    """Return the story of an event of the queue in this directory.

    Raises:
        QueueFormatError: this is no queue, or its state was left by another version.
        EventNotFoundError: there is no such event yet.
        EventExpiredError: retention has dropped it.
        CorruptRecordError: it was there and cannot be read any more.
        StorageError: a file cannot be read.
    """
    is_shared = read_identity(root).joined is not None
    log = LogView(root)
    try:
        record, tail = log.get(check_event_id(event_id)), log.tail()
    finally:
        log.close()
    steps = list(_published(record))
    if (root / STATE_FILE).exists():
        store = StateView(root / STATE_FILE)
        try:
            steps += _known_to(store, event_id, tail)
        finally:
            store.close()
    else:
        steps.append(_unhandled([]))
    steps.sort(key=lambda step: step.at or _NOW)  # stable: what was published comes before all of the same time
    return Story(event_id, steps, is_shared)


def _published(record: StoredRecord) -> Iterator[Step]:
    with_key = f" with the key {record.key!r}" if record.key is not None else ""
    due = time_of(record.due) if record.due is not None else None
    facts = {"key": record.key, "deliver_at": due}
    yield Step(time_of(record.at), "published", f"published{with_key}", facts)
    if due is not None:
        yield Step(due, "due", "due: it is handed out from then on")


def _known_to(store: StateView, event_id: int, tail: int) -> Iterator[Step]:
    names = {each.id: each.type_name for each in store.subscriptions.all()}
    results = list(_results(store, event_id))
    for result in results:
        yield _handled(result, names)
    for claim in store.claims.ending_in(f":{event_id}"):
        yield _claimed(claim)
    lags = {each.name: each.lag for each in store.groups.info(tail)}
    places = store.groups.of_event(event_id)
    for place in places:
        yield _in_group(place, lags.get(place.group, 0))
    is_dealt_with = any(each.is_handed_out and each.is_in_group for each in places)
    if not results and not is_dealt_with:
        yield _unhandled([f"{each.group}: lag {lags.get(each.group, 0)}" for each in places if each.is_in_group])


def _unhandled(lags: list[str]) -> Step:
    text = "no group or subscriber has handled it yet"
    return Step(None, "unhandled", f"{text}: {', '.join(lags)}" if lags else f"{text}, and there are no groups")


def _results(store: StateView, event_id: int) -> Iterator[EventResult]:
    page_id: str | None = None
    while True:
        page = store.results.search(page_id, _PAGE, event_id__eq=event_id)
        yield from page.items
        page_id = page.next_page_id
        if page_id is None:
            return


def _handled(result: EventResult, names: dict[UUID, str]) -> Step:
    name = names.get(result.subscription_id) if result.subscription_id is not None else None
    subscriber = f"subscriber {name or result.subscription_id or 'of a function'}"
    who = f"group {result.group}" if result.group is not None else subscriber
    token = f", token {result.token}" if result.token is not None else ""
    outcome = "handled" if result.success else "failed"
    stale = "; stale: the lease had gone to another worker, so it does not count" if result.stale else ""
    last = f": {_last_line(result.details)}" if result.details else ""
    attempt = f"attempt {result.attempt}{token}, worker {result.worker_id}"
    facts = {
        "group": result.group,
        "subscription_id": result.subscription_id,
        "worker_id": result.worker_id,
        "attempt": result.attempt,
        "token": result.token,
        "stale": result.stale,
        "duration_seconds": result.duration_seconds,
        "details": _last_line(result.details) if result.details else None,
    }
    return Step(result.created_at, outcome, f"{who}: {outcome} by {attempt}{stale}{last}", facts)


def _claimed(claim: Claim) -> Step:
    """Tell of a claim whose id ends as a `NonceSubscriber` would end it for this event."""
    text = f"the claim {claim.id!r}, as NonceSubscriber takes it, is held by worker {claim.worker_id}"
    facts = {"claim_id": claim.id, "worker_id": claim.worker_id, "token": claim.token, "expires_at": claim.expires_at}
    return Step(claim.created_at, "claimed", f"{text}, token {claim.token}, until {clock(claim.expires_at)}", facts)


def _in_group(place: EventInGroup, lag: int) -> Step:
    paused = " (the group is paused)" if place.is_paused else ""
    facts: dict[str, Any] = {"group": place.group, "lag": lag, "paused": place.is_paused}
    name = f"group {place.group}"
    if place.dead_letter is not None:
        return _dead(place.dead_letter)
    if (held := place.held_by) is not None:
        over = "; that has run out, and the next worker that asks takes it over" if held.has_run_out else ""
        attempt = f"attempt {held.attempt}, token {held.token}, worker {held.worker_id}"
        facts |= {"worker_id": held.worker_id, "attempt": held.attempt, "token": held.token}
        facts |= {"expires_at": held.expires_at, "has_run_out": held.has_run_out}
        text = f"{name}: leased for {attempt}, until {clock(held.expires_at)}{over}{paused}"
        return Step(held.begun_at, "leased", text, facts)
    if (until := place.waits_until) is not None:
        is_over = until <= datetime.now(timezone.utc)
        what = "due; no worker has taken it since, for" if is_over else "waits until then for"
        text = f"{name}: {what} attempt {place.attempts + 1}{paused}"
        return Step(until, "waiting", text, {**facts, "attempts": place.attempts})
    kind, text = _without_a_time(place, lag)
    return Step(None, kind, f"{name}: {text}{paused if kind == 'fresh' else ''}", facts)


def _without_a_time(place: EventInGroup, lag: int) -> tuple[str, str]:
    if not place.is_handed_out:
        return "fresh", f"not handed out yet; lag {lag}"
    if not place.is_in_group:
        return "before", "began behind this event, and never gets it"
    if place.is_finished:
        return "finished", "finished"
    return "elsewhere", "handed out; a worker of another root has it or has finished it, and has not told yet"


def _dead(letter: DeadLetter) -> Step:
    attempts = counted(letter.attempts, "attempt")
    text = f"group {letter.group}: given up after {attempts}, worker {letter.worker_id}: {_last_line(letter.details)}"
    facts = {
        "group": letter.group,
        "attempts": letter.attempts,
        "worker_id": letter.worker_id,
        "first_attempt_at": letter.first_attempt_at,
        "details": _last_line(letter.details),
    }
    return Step(letter.died_at, "dead", text, facts)


def _last_line(details: str | None) -> str:
    lines = (details or "").strip().splitlines()
    return printable(lines[-1]) if lines else ""


def clock(at: datetime) -> str:
    """Return a time as a person here reads it, to the millisecond."""
    local = at.astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d}"
