"""What other roots tell of results and subscriptions: all that is sound is made here, and nothing else."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from eventy_sync.identifiers import new_id
from eventy_sync.models import EventResult
from eventy_sync.storage.state import RESULTS, RUNS, SUBSCRIBED, UNSUBSCRIBED, StateStore, StoredSubscription
from eventy_sync.storage.state.result_runs import MAX_RUN, MAX_SPAN_SECONDS

KEY, OTHER_KEY, WORKER = (UUID(int=number) for number in (7, 8, 9))
AT = datetime(1970, 1, 1, 0, 0, 1, tzinfo=timezone.utc)
RESULT: list[Any] = [KEY.bytes, 3, WORKER.bytes, 1, "went well", 1_000_000, None, None, 1, None, 0.5, 0]
SUBSCRIPTION: list[Any] = [KEY.bytes, "a.B", b"{}", 4, 1, 1_000_000, WORKER.bytes]
TIMES = struct.pack("<4I", 0, 2_000_000, 7, 8)
RUN: list[Any] = [str(KEY), 3, str(WORKER), "billing", None, 1, None, 1_000_000, False, TIMES]
TOO_LARGE, SHORT, AFTER_ALL_TIME = 2**63, b"short", 253_402_300_800_000_000
Change = tuple[str, bytes]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    """A store whose changes are told to others."""
    opened = StateStore(tmp_path / "state.db", tells_others=True)
    yield opened
    opened.close()


def result(**changed: Any) -> Change:
    """Return one result told, some columns, `c0` and so on, changed."""
    return RESULTS, msgspec.json.encode([changed_row(RESULT, changed)])


def run(**changed: Any) -> Change:
    """Return one run of two results told, some columns changed."""
    return RUNS, msgspec.json.encode([changed_row(RUN, changed)])


def subscription(**changed: Any) -> Change:
    """Return one subscription told, some columns changed."""
    return SUBSCRIBED, msgspec.json.encode(changed_row(SUBSCRIPTION, changed))


def changed_row(row: list[Any], changed: dict[str, Any]) -> list[Any]:
    return [changed.get(f"c{number}", value) for number, value in enumerate(row)]


def test_what_is_sound_is_made_here(store: StateStore) -> None:
    """The malformed ones of this module differ from it in one thing.  Telling it again changes nothing."""
    for _ in range(2):
        store.apply([result(), subscription()], {"position": b"2"})
        assert store.results.search().items == [
            EventResult(KEY, 3, WORKER, True, "went well", AT, duration_seconds=0.5)
        ]
        assert store.subscriptions.all() == [StoredSubscription(KEY, "a.B", b"{}", 4, True, AT, WORKER)]
        assert store.results.count() == 1
    assert store.remembered.get("position") == b"2"
    assert store.outbox.first(10) == []  # whoever told it tells everybody


def test_a_run_that_is_sound_is_kept_here_once(store: StateStore) -> None:
    """However often it is told, and counted once."""
    for _ in range(2):
        store.apply([run(), run()], {})
        store.apply([(RUNS, msgspec.json.encode([RUN, RUN]))], {})
    assert [(each.id, each.event_id, each.created_at, each.group) for each in store.results.search().items] == [
        (KEY, 3, AT, "billing"),
        (OTHER_KEY, 4, AT + timedelta(seconds=2), "billing"),
    ]
    assert store.results.count() == 2
    assert store.outbox.first(10) == []


MALFORMED: dict[str, Change] = {
    "no JSON": (RESULTS, b"pickle"),
    "nothing": (RESULTS, b""),
    "no list": (RESULTS, b"{}"),
    "one column less": (RESULTS, msgspec.json.encode([RESULT[:-1]])),
    "one column more": (RESULTS, msgspec.json.encode([[*RESULT, 0]])),
    "too deep": (RESULTS, b"[" * 50_000),
    "a result's id that is short": result(c0=SHORT),
    "a result's id that is long": result(c0=bytes(17)),
    "a result's id that is a number": result(c0=1),
    "an event that SQLite cannot keep": result(c1=TOO_LARGE),
    "an event that is far too large": result(c1=10**300),
    "an event below 0": result(c1=-1),
    "a result's worker that is short": result(c2=SHORT),
    "success that SQLite cannot keep": result(c3=TOO_LARGE),
    "details that are a list": result(c4=[]),
    "details that are half a character": (RESULTS, result()[1].replace(b"went well", b"\\ud800")),
    "a result's time after all time": result(c5=AFTER_ALL_TIME),
    "a result's time that is half": result(c5=1.5),
    "a subscription of a result that is short": result(c6=SHORT),
    "an attempt that SQLite cannot keep": result(c8=TOO_LARGE),
    "a token that SQLite cannot keep": result(c9=TOO_LARGE),
    "a duration without an end": (RESULTS, result()[1].replace(b"0.5", b"1e999")),
    "a run that is no list": (RUNS, b"{}"),
    "a run that is none": (RUNS, msgspec.json.encode(RUN)),
    "a run with one column less": (RUNS, msgspec.json.encode([RUN[:-1]])),
    "a run with one column more": (RUNS, msgspec.json.encode([[*RUN, 0]])),
    "a run's id that is none": run(c0="7"),
    "a run whose ids go on behind all ids": run(c0=str(UUID(int=2**128 - 1))),
    "a run's event below 0": run(c1=-1),
    "a run's event that SQLite cannot keep": run(c1=TOO_LARGE),
    "a run that goes on behind all events": run(c1=2**63 - 1),
    "a run's worker that is none": run(c2="ann"),
    "a run's group that is half a character": (RUNS, run()[1].replace(b"billing", b"\\ud800")),
    "a run's attempt that SQLite cannot keep": run(c5=TOO_LARGE),
    "a run's token that SQLite cannot keep": run(c6=TOO_LARGE),
    "a run's time after all time": run(c7=AFTER_ALL_TIME),
    "a run that ends after all time": run(c7=AFTER_ALL_TIME - 1),
    "a run that is stale by half": run(c8=0.5),
    "a run of nothing": run(c9=b""),
    "a run of half a result more": run(c9=TIMES + bytes(4)),
    "a run that is too long": run(c9=bytes(8 * (MAX_RUN + 1))),
    "a run that lasts too long": run(c9=struct.pack("<4I", 0, MAX_SPAN_SECONDS * 1_000_000 + 1, 7, 8)),
    "a run's times that are no base64": (RUNS, msgspec.json.encode([[*RUN[:-1], "?"]])),
    "a subscription that is a list of them": (SUBSCRIBED, msgspec.json.encode([SUBSCRIPTION])),
    "a subscription's id that is short": subscription(c0=SHORT),
    "a subscription's type that is a number": subscription(c1=1),
    "a subscription's body that is no base64": subscription(c2="?"),
    "a start that SQLite cannot keep": subscription(c3=TOO_LARGE),
    "a subscription's time after all time": subscription(c5=AFTER_ALL_TIME),
    "a subscription's worker that is short": subscription(c6=SHORT),
    "an end of what is no id": (UNSUBSCRIBED, b'"c2hvcnQ="'),
    "an end of nothing": (UNSUBSCRIBED, b"null"),
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_passed_over(store: StateStore, change: Change, caplog: pytest.LogCaptureFixture) -> None:
    """With a warning; nothing of it is kept, and what else is told is made all the same, so it is never met again."""
    sound = [result(c0=OTHER_KEY.bytes), subscription(c0=OTHER_KEY.bytes)]
    store.apply([sound[0], change, sound[1]], {"position": b"3"})
    assert [each.id for each in store.results.search().items] == [OTHER_KEY]
    assert [each.id for each in store.subscriptions.all()] == [OTHER_KEY]
    assert store.results.count() == 1
    assert store.remembered.get("position") == b"3"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "a change of another root passed over" in record.getMessage()
    assert "went well" not in record.getMessage()


def test_one_malformed_row_takes_the_others_of_its_change_with_it(store: StateStore) -> None:
    """They came from the same hand; the count says what is there."""
    rows = [RESULT, changed_row(RESULT, {"c0": OTHER_KEY.bytes, "c1": TOO_LARGE})]
    store.apply([(RESULTS, msgspec.json.encode(rows))], {})
    assert store.results.count() == len(store.results.search().items) == 0


@pytest.mark.parametrize("kind", ["", "RESULTS", "claims", "�"])
def test_a_kind_that_is_not_known_is_passed_over_in_silence(
    store: StateStore, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A later version may tell of more."""
    store.apply([(kind, result()[1]), subscription()], {})
    assert store.results.count() == 0
    assert store.subscriptions.count() == 1
    assert caplog.records == []


def test_what_has_ended_does_not_begin_again(store: StateStore) -> None:
    """Somebody may tell of a subscription who has not heard of its end."""
    version = store.subscriptions.version()
    ended: Change = (UNSUBSCRIBED, msgspec.json.encode(KEY.bytes))
    store.apply([ended, subscription(), subscription(c0=OTHER_KEY.bytes)], {})
    assert [each.id for each in store.subscriptions.all()] == [OTHER_KEY]
    assert store.subscriptions.version() == version + 1
    store.apply([(UNSUBSCRIBED, msgspec.json.encode(OTHER_KEY.bytes)), subscription(c0=OTHER_KEY.bytes)], {})
    assert store.subscriptions.count() == 0


def test_all_of_a_state_makes_an_equal_one(store: StateStore, tmp_path: Path) -> None:
    """As it is streamed to a root that has missed something; what is told since a later time leaves results out."""
    ids = [new_id() for _ in range(3)]
    for each in ids:
        store.apply([result(c0=each.bytes), subscription(c0=each.bytes)], {})
    store.subscriptions.remove(ids[1])
    other = StateStore(tmp_path / "other.db")
    other.apply([subscription(c0=ids[1].bytes)], {})
    other.apply(store.changes_since((time.time_ns() // 1000) + 3_600_000_000), {})
    assert other.subscriptions.all() == store.subscriptions.all()
    assert other.results.count() == 0
    other.apply(store.changes_since(0), {})
    assert other.results.search() == store.results.search()
    assert other.results.count() == 3
    other.close()
