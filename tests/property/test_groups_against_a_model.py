"""A group in the state store against a simple model: each event is in one place, whatever workers do or do not."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eventy_sync.storage.state import Death, Lease, Retry, Settlement, StateStore, Want
from eventy_sync.storage.state.boot_clock import Now

EXAMPLES = int(os.environ.get("EVENTY_TEST_EXAMPLES", "100"))
WORKERS = [UUID(int=1), UUID(int=2), UUID(int=3)]
GROUP, MAX_ATTEMPTS, LEASE_SECONDS = "billing", 3, 10.0

workers = st.sampled_from(WORKERS)


@dataclass
class Place:
    """Where an event is: "fresh", "leased", "waiting", "done" or "dead"."""

    state: str = "fresh"
    attempts: int = 0  # that count
    due_at: float = 0.0  # of a waiting one
    token: int = 0  # of a leased one


class GroupMachine(RuleBasedStateMachine):
    """One group of one store; time passes by hand."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="eventy-property-"))
        self.seconds = 1000.0
        self.events: dict[int, Place] = {}
        self.given: dict[int, tuple[UUID, Lease, float]] = {}  # by token: to whom, what, until when
        self.paused = False
        self.open()
        self.store.leases.begin(GROUP, 1)

    def open(self) -> None:
        self.store = StateStore(self.directory / "state.db")
        self.store.leases._clocks = self.store.groups._clocks = self.clocks

    def clocks(self) -> Now:
        return Now(1_700_000_000_000_000 + int(self.seconds * 1e6), "boot", self.seconds)

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.drain()
            self.store.close()
            shutil.rmtree(self.directory)

    def drain(self) -> None:
        """None is lost: one worker that goes on long enough finishes all that are not dead."""
        self.store.groups.pause(GROUP, False)
        self.paused = False
        self.seconds += 3600
        for _ in range(4 * len(self.events) + 1):
            leases = self.take(WORKERS[0], 7)
            self.settle_all(WORKERS[0], leases)
            self.seconds += 1
        assert {place.state for place in self.events.values()} <= {"done", "dead"}

    def settle_all(self, worker: UUID, leases: list[Lease]) -> None:
        self.store.leases.exchange(GROUP, worker, Settlement(done=leases), None)
        for lease in leases:
            for event_id in range(lease.first_id, lease.last_id + 1):
                self.events[event_id].state = "done"

    # -- what happens ----------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 12))
    def publish(self, count: int) -> None:
        for _ in range(count):
            self.events[len(self.events) + 1] = Place()

    @rule(worker=workers, limit=st.integers(1, 8))
    def take_some(self, worker: UUID, limit: int) -> None:
        self.take(worker, limit)

    def take(self, worker: UUID, limit: int) -> list[Lease]:
        want = Want(limit, len(self.events), LEASE_SECONDS, MAX_ATTEMPTS)
        taken = self.store.leases.exchange(GROUP, worker, None, want)
        if self.paused:
            assert taken == ([], None)
            return []
        self.run_out()
        self.check_taken(taken.leases, limit)
        for lease in taken.leases:
            assert lease.token > max(self.given, default=0)
            self.given[lease.token] = worker, lease, self.seconds + LEASE_SECONDS
            for event_id in range(lease.first_id, lease.last_id + 1):
                self.events[event_id] = Place("leased", lease.attempt, token=lease.token)
        if not taken.leases:
            assert taken.wait_seconds is None or taken.wait_seconds > 0
        return taken.leases

    def run_out(self) -> None:
        """What workers' leases did not live to see waits again, or is dead."""
        for place in self.events.values():
            if place.state == "leased" and self.seconds >= self.given[place.token][2]:
                place.state, place.due_at = ("dead" if place.attempts >= MAX_ATTEMPTS else "waiting"), self.seconds

    def check_taken(self, leases: list[Lease], limit: int) -> None:
        """What is handed out was free, is not too much, and is something if there was anything."""
        handed = [(each, lease.attempt) for lease in leases for each in range(lease.first_id, lease.last_id + 1)]
        assert len(handed) <= limit
        assert len({event_id for event_id, _ in handed}) == len(handed)
        for event_id, attempt in handed:
            place = self.events[event_id]
            assert self.is_free(place), "an event was handed out that is not free"
            assert attempt == place.attempts + 1
            assert attempt == 1 or len(handed) == 1, "what was tried before is not alone"
        if not handed:
            assert not any(map(self.is_free, self.events.values())), "a free event is not handed out"

    def is_free(self, place: Place) -> bool:
        return place.state == "fresh" or (place.state == "waiting" and place.due_at <= self.seconds)

    @rule(choice=st.integers(0, 1_000), kinds=st.lists(st.sampled_from("drxgk"), min_size=8, max_size=8))
    def settle(self, choice: int, kinds: list[str]) -> None:
        """A worker says what came of a lease: done, retried, dead, given back, or not yet.

        Again and again, and late: what it does not hold any more is not changed by that.
        """
        if not self.given:
            return
        worker, lease, _ = self.given[sorted(self.given)[choice % len(self.given)]]
        settlement = Settlement()
        for event_id, kind in zip(range(lease.first_id, lease.last_id + 1), kinds, strict=False):
            place = self.events[event_id]
            is_held = place.state == "leased" and place.token == lease.token
            self.add(settlement, lease, event_id, kind)
            if is_held:
                self.change(place, lease, event_id, kind)
        self.store.leases.exchange(GROUP, worker, settlement, None)
        self.make_newest_fresh()

    def add(self, settlement: Settlement, lease: Lease, event_id: int, kind: str) -> None:
        part = lease._replace(first_id=event_id, last_id=event_id)
        if kind == "d":
            settlement.done.append(part)
        elif kind == "r":
            settlement.retries.append(Retry(event_id, lease.token, lease.attempt, 4.0))
        elif kind == "x":
            settlement.deaths.append(Death(event_id, lease.token, lease.attempt, "x"))
        elif kind == "g":
            settlement.returned.append(part)

    def change(self, place: Place, lease: Lease, event_id: int, kind: str) -> None:
        if kind == "d":
            place.state = "done"
        elif kind == "r":
            place.state, place.due_at = "waiting", self.seconds + 4.0
        elif kind == "x":
            place.state = "dead"
        elif kind == "g":
            place.state, place.attempts, place.due_at = "waiting", lease.attempt - 1, self.seconds

    def make_newest_fresh(self) -> None:
        """Whether what was given back waits or is fresh is the store's affair, as long as it is free."""
        (info,) = self.store.groups.info(len(self.events))
        for event_id in range(info.next_id, len(self.events) + 1):
            place = self.events[event_id]
            assert place.state == "fresh" or (place.state == "waiting" and place.attempts == 0 and self.is_free(place))
            self.events[event_id] = Place()

    @rule(worker=workers, back=st.integers(0, 3))
    def renew(self, worker: UUID, back: int) -> None:
        tokens = sorted(self.given)[-1 - back :]
        held = self.store.leases.renew(GROUP, worker, tokens, LEASE_SECONDS)
        leased = {place.token for place in self.events.values() if place.state == "leased"}
        assert held == {each for each in tokens if each in leased and self.given[each][0] == worker}
        for token in held:
            self.given[token] = (*self.given[token][:2], self.seconds + LEASE_SECONDS)

    @rule(seconds=st.sampled_from([0.5, 3.0, 4.0, 9.0, 11.0]))
    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds

    @rule()
    def pause(self) -> None:
        self.store.groups.pause(GROUP, True)
        self.paused = True

    @rule()
    def resume(self) -> None:
        self.store.groups.pause(GROUP, False)
        self.paused = False

    @rule(some=st.none() | st.lists(st.integers(1, 30), max_size=5))
    def requeue(self, some: list[int] | None) -> None:
        wanted = set(self.events if some is None else some)
        dead = [place for event_id, place in self.events.items() if place.state == "dead" and event_id in wanted]
        assert self.store.groups.requeue(GROUP, some) == len(dead)
        for place in dead:
            place.state, place.attempts, place.due_at, place.token = "waiting", 0, self.seconds, 0

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    # -- what always holds -----------------------------------------------------------------------------------

    @invariant()
    def both_tell_the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        (info,) = self.store.groups.info(len(self.events))
        states = [place.state for place in self.events.values()]
        counts = (info.leased, info.waiting, info.dead, info.paused)
        assert counts == (states.count("leased"), states.count("waiting"), states.count("dead"), self.paused)
        unfinished = [event_id for event_id, place in self.events.items() if place.state not in ("done", "dead")]
        assert info.lag == len(unfinished)
        assert self.store.groups.oldest_unfinished() == min(unfinished, default=len(self.events) + 1)
        letters = self.store.groups.dead_letters(GROUP, None, 1000).items
        dead = [(event_id, place.attempts) for event_id, place in self.events.items() if place.state == "dead"]
        assert [(each.event_id, each.attempts) for each in letters] == dead


GroupMachine.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestGroupsAgainstAModel = GroupMachine.TestCase
