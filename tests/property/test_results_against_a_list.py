"""Results against a plain list: whatever is kept, in rows or in runs, is found as a loop over the list finds it."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eventy_sync.identifiers import new_ids
from eventy_sync.models import EventResult
from eventy_sync.storage.state import StateStore, make_runs

EXAMPLES = int(os.environ.get("EVENTY_TEST_EXAMPLES", "100"))
START_US = 1_800_000_000_000_000
LAST_EVENT = 40

workers = st.sampled_from([UUID(int=1), UUID(int=2)])
groups = st.sampled_from([None, "billing", "mailing"])
event_ids = st.integers(0, LAST_EVENT)
steps_us = st.integers(0, 3_000_000)
durations_us = st.integers(0, 5_000_000)
limits = st.sampled_from([1, 2, 7, 100])
FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "event": event_ids,
    "worker": workers,
    "earliest": st.floats(0, 1),
    "latest": st.floats(0, 1),
    "success": st.booleans(),
    "group": st.sampled_from(["billing", "mailing"]),
}
some_filters = st.sets(st.sampled_from(sorted(FILTERS)), max_size=2)
tokens = st.one_of(st.none(), st.integers(1, 9))


def time_of(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, timezone.utc).replace(microsecond=at_us % 1_000_000)


class ResultMachine(RuleBasedStateMachine):
    """A store, the list of what must be in it, and the store of another root that hears of everything, often twice."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="eventy-property-"))
        self.store = StateStore(self.root / "a.db", tells_others=True)
        self.other = StateStore(self.root / "b.db")
        self.model: list[EventResult] = []
        self.spans: dict[UUID, int] = {}  # of each result: the last event of the run it is in
        self.now_us = START_US

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self.store.close()
            self.other.close()
            shutil.rmtree(self.root)

    @rule(
        event_id=event_ids, success=st.booleans(), worker=workers, group=groups, step_us=steps_us, duration=durations_us
    )
    def keep_one(
        self, event_id: int, success: bool, worker: UUID, group: str | None, step_us: int, duration: int
    ) -> None:
        self.now_us += step_us
        result = EventResult(
            id=new_ids(1, self.now_us // 1000),
            event_id=event_id,
            worker_id=worker,
            success=success,
            details=None if success else "ValueError",
            created_at=time_of(self.now_us),
            group=group,
            duration_seconds=duration / 1_000_000,
        )
        self.store.results.add_many([result])
        self.model.append(result)
        self.spans[result.id] = event_id

    @rule(
        first=event_ids,
        times=st.lists(st.tuples(steps_us, durations_us), min_size=3, max_size=30),
        worker=workers,
        group=groups,
        attempt=st.integers(1, 3),
        token=tokens,
        stale=st.booleans(),
    )
    def keep_a_run(
        self,
        first: int,
        times: list[tuple[int, int]],
        worker: UUID,
        group: str | None,
        attempt: int,
        token: int | None,
        stale: bool,
    ) -> None:
        ends = [self.now_us + each for each in itertools.accumulate(step for step, _ in times)]
        self.now_us = ends[-1]
        durations = [duration for _, duration in times]
        terms: dict[str, Any] = {
            "worker_id": worker,
            "group": group,
            "attempt": attempt,
            "token": token,
            "stale": stale,
        }
        runs = make_runs(first, ends, durations, subscription_id=None, **terms)
        self.store.results.add([], runs)
        assert sum(run.count for run in runs) == len(times)
        ids = [(UUID(int=run.base_id.int + each), run) for run in runs for each in range(run.count)]
        for number, (key, run) in enumerate(ids):
            self.model.append(
                EventResult(
                    id=key,
                    event_id=first + number,
                    success=True,
                    details=None,
                    created_at=time_of(ends[number]),
                    duration_seconds=durations[number] / 1_000_000,
                    **terms,
                )
            )
            self.spans[key] = run.first_event_id + run.count - 1

    @rule(event_id=st.integers(0, LAST_EVENT // 4))
    def forget_before(self, event_id: int) -> None:
        self.let_the_other_hear()
        kept = [each for each in self.model if self.spans[each.id] >= event_id]
        for store in (self.store, self.other):
            assert store.results.delete_before(event_id) == len(self.model) - len(kept)
        self.model = kept

    @rule()
    def let_the_other_hear(self) -> None:
        changes = [(each.kind, each.body) for each in self.store.outbox.first(1000)]
        for _ in range(2):
            self.other.apply(changes, {})
        if changes:
            self.store.outbox.drop(self.store.outbox.first(1000)[-1].number)
        self.other.apply(self.store.changes_since(0), {})
        assert walk(self.other, 1000) == walk(self.store, 1000)
        assert self.other.results.count() == len(self.model)

    @rule(since=st.floats(0, 1))
    def tell_all_since(self, since: float) -> None:
        """A state that begins later has at least what ended later."""
        at = START_US + int(since * (self.now_us - START_US))
        third = StateStore(self.root / "c.db")
        third.apply(self.store.changes_since(at), {})
        found = walk(third, 1000)
        third.clear(next_id=1)
        third.close()
        assert [each for each in found if each.created_at > time_of(at)] == [
            each for each in self.sorted() if each.created_at > time_of(at)
        ]

    @rule(limit=limits, data=st.data(), names=some_filters)
    def look(self, limit: int, data: st.DataObject, names: set[str]) -> None:
        asked = {name: data.draw(FILTERS[name], name) if name in names else None for name in FILTERS}
        event_id, worker, success, group = (asked[name] for name in ("event", "worker", "success", "group"))
        begin, end = (self.time_of_one(asked[name]) for name in ("earliest", "latest"))
        checks: list[tuple[Any, Callable[[EventResult, Any], bool]]] = [
            (event_id, lambda each, value: each.event_id == value),
            (worker, lambda each, value: each.worker_id == value),
            (begin, lambda each, value: each.created_at >= value),
            (end, lambda each, value: each.created_at <= value),
            (success, lambda each, value: each.success == value),
            (group, lambda each, value: each.group == value),
        ]
        expected = [each for each in self.sorted() if all(value is None or fits(each, value) for value, fits in checks)]
        filters = (event_id, worker, begin, end, success, group)
        assert walk(self.store, limit, *filters) == expected
        assert self.store.results.count(*filters) == len(expected)

    @rule(share=st.floats(0, 1))
    def get(self, share: float) -> None:
        if self.model:
            asked = [*self.sorted()[int(share * (len(self.model) - 1)) :][:20]]
            ids = [each.id for each in asked]
            missing = UUID(int=ids[-1].int + (1 << 40))
            assert self.store.results.batch_get([*ids[::-1], missing]) == [*asked[::-1], None]
            assert self.store.results.get(ids[0]) == asked[0]

    def time_of_one(self, share: float | None) -> datetime | None:
        """Return the end of one of the results: a limit is most easily missed where it is met exactly."""
        if share is None:
            return None
        return self.sorted()[int(share * (len(self.model) - 1))].created_at if self.model else time_of(self.now_us)

    def sorted(self) -> list[EventResult]:
        return sorted(self.model, key=lambda each: each.id)

    @invariant()
    def counts_are_equal(self) -> None:
        if hasattr(self, "store"):
            assert self.store.results.count() == len(self.model)


def walk(store: StateStore, limit: int, *filters: Any) -> list[EventResult]:
    """Return all that fit, page by page."""
    found: list[EventResult] = []
    page_id = None
    while True:
        page = store.results.search(page_id, limit, *filters)
        assert len(page.items) <= limit
        found += page.items
        if (page_id := page.next_page_id) is None:
            return found


TestResultsAgainstAList = ResultMachine.TestCase
TestResultsAgainstAList.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
