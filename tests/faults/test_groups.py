"""Groups whose workers are killed, frozen or poisoned: each event is handled at least once, and counted once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from eventy_sync import EventResult, FileEventQueue

Spawn = Callable[..., "subprocess.Popen[str]"]
Wait = Callable[..., None]

KILLS = int(os.environ.get("EVENTY_TEST_KILLS", "12"))
EVENTS = 2000

WORKER = """
    import os, sys, threading, time
    from eventy_sync import FileEventQueue

    journal = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    seconds, lease_seconds, attempts, concurrency = [float(each) for each in sys.argv[3:7]]
    poison = [int(each) for each in sys.argv[7:]]

    def say(what, event):
        os.write(journal, f"{what} {event.id} {os.getpid()} {time.clock_gettime_ns(time.CLOCK_BOOTTIME)}\\n".encode())

    def handle(event):
        say("begun", event)
        if event.id in poison:
            os.kill(os.getpid(), 9)
        time.sleep(seconds)
        say("ended", event)

    with FileEventQueue(sys.argv[1], payload_type=int) as queue:
        print("ready", flush=True)  # first: the first event may be its death
        queue.subscribe(
            handle, group="billing", from_index=1, lease_seconds=lease_seconds, max_attempts=int(attempts),
            concurrency=int(concurrency), backoff=0.01,
        )
        sys.stdin.read()
"""


class Work:
    """A root with a group's events, its workers' journal, and workers."""

    def __init__(self, root: Path, spawn: Spawn) -> None:
        self.root, self._spawn, self.journal_path = root, spawn, root.parent / "journal"
        self.journal_path.touch()

    def publish(self, count: int) -> None:
        with FileEventQueue[int](self.root, payload_type=int) as queue:
            queue.publish_many(range(count))

    def worker(
        self,
        seconds: float = 0.002,
        lease_seconds: float = 1.0,
        attempts: int = 50,
        concurrency: int = 1,
        poison: tuple[int, ...] = (),
    ) -> subprocess.Popen[str]:
        process = self._spawn(
            WORKER, self.root, self.journal_path, seconds, lease_seconds, attempts, concurrency, *poison
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def journal(self, what: str) -> list[tuple[int, int, int]]:
        """Return event, process and time in nanoseconds of what workers said."""
        lines = [line.split() for line in self.journal_path.read_text().splitlines()]
        return [(int(event), int(pid), int(at)) for kind, event, pid, at in lines if kind == what]

    def runs(self) -> list[tuple[int, int, int, int]]:
        """Return event, process, beginning and end of each run that was brought to its end."""
        begun: dict[tuple[int, int], list[int]] = defaultdict(list)
        for event, pid, at in self.journal("begun"):
            begun[event, pid].append(at)
        return [(event, pid, begun[event, pid].pop(0), at) for event, pid, at in self.journal("ended")]


@pytest.fixture
def work(root: Path, spawn_python: Spawn) -> Work:
    return Work(root, spawn_python)


def is_done(queue: FileEventQueue[int]) -> bool:
    """Return whether the group has nothing left to do."""
    return [each.lag for each in queue.groups()] == [0]


def is_dead_or_done(worker: subprocess.Popen[str], queue: FileEventQueue[int]) -> bool:
    """Return whether the worker has died or there is nothing left for it."""
    return worker.poll() is not None or is_done(queue)


def all_results(queue: FileEventQueue[int]) -> list[EventResult]:
    """Return every result there is."""
    found: list[EventResult] = []
    page_id = None
    while True:
        page = queue.search_results(page_id, limit=1000)
        found += page.items
        if (page_id := page.next_page_id) is None:
            return found


@pytest.mark.timeout(900)
def test_kill_9_of_workers_loses_nothing_and_counts_nothing_twice(work: Work, wait_until: Wait) -> None:
    """Three workers at a time, killed at random and replaced: twice is handled only what was in flight."""
    chance = random.Random(11)
    work.publish(EVENTS)
    workers = [work.worker() for _ in range(3)]
    pause = threading.Event()
    with FileEventQueue[int](work.root, payload_type=int) as queue:
        for _ in range(KILLS):
            pause.wait(chance.uniform(0.0, 0.15))  # not for a condition: at any moment
            victim = workers.pop(chance.randrange(3))
            victim.kill()
            victim.wait()
            if is_done(queue):
                queue.publish_many(range(EVENTS // 4))
            workers.append(work.worker())
        wait_until(lambda: is_done(queue), 120)
        tail = int(queue.stats()["tail"])
        handled = Counter(event for event, _, _ in work.journal("ended"))
        assert set(handled) == set(range(1, tail + 1))
        in_flight = 50  # a batch at most was handled and not settled when its worker died
        assert sum(handled.values()) - len(handled) <= KILLS * in_flight
        fresh = Counter(each.event_id for each in all_results(queue) if each.success and not each.stale)
        assert fresh == dict.fromkeys(range(1, tail + 1), 1)
        assert queue.dead_letters("billing").items == []
    killed = {pid for _, pid, _ in work.journal("begun")} - {each.pid for each in workers}
    begun_by_killed = {event for event, pid, _ in work.journal("begun") if pid in killed}
    assert begun_by_killed >= {event for event, times in handled.items() if times > 1}


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_poisonous_event_dies_and_takes_no_other_with_it(work: Work, wait_until: Wait, attempts: int) -> None:
    """It kills its worker as often as it has attempts; all others are handled."""
    work.publish(300)
    deaths = 0
    with FileEventQueue[int](work.root, payload_type=int) as queue:
        worker = work.worker(0.0, 0.4, attempts, poison=(120,))
        while not is_done(queue):
            wait_until(partial(is_dead_or_done, worker, queue), 60)
            if worker.poll() is not None:
                deaths += 1
                worker = work.worker(0.0, 0.4, attempts, poison=(120,))
        assert deaths == attempts
        (letter,) = queue.dead_letters("billing").items
        assert (letter.event_id, letter.attempts) == (120, attempts)
        assert "the worker died" in letter.details
        assert len(work.journal("begun")) >= 300
        assert {event for event, _, _ in work.journal("ended")} == set(range(1, 301)) - {120}
        fresh = Counter(each.event_id for each in all_results(queue) if each.success and not each.stale)
        assert fresh == dict.fromkeys(set(range(1, 301)) - {120}, 1)


def test_what_a_frozen_worker_has_is_anothers_and_its_late_result_is_stale(work: Work, wait_until: Wait) -> None:
    """It stands still past its lease, in the middle of an event and with others in hand, and wakes."""
    work.publish(200)
    frozen = work.worker(0.004, 0.5)
    with FileEventQueue[int](work.root, payload_type=int) as queue:
        wait_until(lambda: len(work.journal("ended")) > 30)
        frozen.send_signal(signal.SIGSTOP)
        other = work.worker(0.0, 0.5)
        wait_until(lambda: is_done(queue), 30)
        begun_before = {event for event, pid, _ in work.journal("begun") if pid == frozen.pid}
        frozen.send_signal(signal.SIGCONT)
        in_flight = begun_before - {event for event, pid, _ in work.journal("ended") if pid == frozen.pid}
        assert len(in_flight) <= 1
        wait_until(lambda: in_flight <= {event for event, pid, _ in work.journal("ended") if pid == frozen.pid})
        for process in (frozen, other):
            process.communicate(timeout=30)
        # it has begun none of those that it had in hand: they were another's by then
        assert {event for event, pid, _ in work.journal("begun") if pid == frozen.pid} == begun_before
        results = all_results(queue)
        fresh = Counter(each.event_id for each in results if not each.stale)
        assert fresh == dict.fromkeys(range(1, 201), 1)
        by_event = defaultdict(set)
        for each in results:
            by_event[each.event_id].add((each.stale, each.attempt))
        for event in in_flight:
            assert by_event[event] == {(True, 1), (False, 2)}


def test_a_lost_lease_is_said_once_however_long_its_handler_goes_on(work: Work, wait_until: Wait) -> None:
    """Its worker stands still past the lease, and asks a dozen times for renewal before the handler ends."""
    work.publish(1)
    frozen = work.worker(3.0, 0.5)
    with FileEventQueue[int](work.root, payload_type=int) as queue:
        wait_until(lambda: work.journal("begun"))
        frozen.send_signal(signal.SIGSTOP)
        other = work.worker(0.0, 0.5)
        wait_until(lambda: is_done(queue), 30)
        frozen.send_signal(signal.SIGCONT)
        wait_until(lambda: len(work.journal("ended")) == 2)
        for process, said in ((frozen, "lease lost while its handler runs: group=billing\n"), (other, "")):
            assert process.communicate(timeout=30) == ("", said)
        assert {(each.stale, each.attempt) for each in all_results(queue)} == {(True, 1), (False, 2)}


def test_no_event_runs_in_two_healthy_workers_at_a_time(work: Work, wait_until: Wait) -> None:
    """Many threads in several processes, leases far shorter than the work takes, slow events among fast ones."""
    work.worker(1.5, 1.0, concurrency=2)  # slower than its leases last: they are renewed
    for _ in range(3):
        work.worker(0.01, 1.0, concurrency=4)
    work.publish(400)
    with FileEventQueue[int](work.root, payload_type=int) as queue:
        wait_until(lambda: is_done(queue), 60)
        runs = work.runs()
        assert Counter(event for event, *_ in runs) == dict.fromkeys(range(1, 401), 1)
        assert len({pid for _, pid, _, _ in runs}) == 4
        assert not [each for each in all_results(queue) if each.stale or not each.success or each.attempt != 1]


# -- death at each step ----------------------------------------------------------------------------------------

TRAPPED = """
    import os, signal, sys
    from eventy_sync.storage.state.connection import Connection

    steps = 0

    def step():
        global steps
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    class Trapped:
        def __init__(self, database):
            self._database = database

        def execute(self, *arguments):
            step()
            return self._database.execute(*arguments)

        def executemany(self, *arguments):
            step()
            return self._database.executemany(*arguments)

        def __getattr__(self, name):
            return getattr(self._database, name)

    real = Connection._connect
    Connection._connect = lambda self: Trapped(real(self))

    from eventy_sync import FileEventQueue

    failed = set()

    def handle(event):
        if event.id % 4 == 0 and event.id not in failed:
            failed.add(event.id)
            raise ValueError
        os.write(1, f"{event.id}\\n".encode())
        return "told" if event.id % 3 == 0 else None

    with FileEventQueue(sys.argv[1], payload_type=int) as queue:
        queue.subscribe(handle, group="billing", from_index=1, lease_seconds=0.1, max_attempts=1000, backoff=0)
        queue.wait_until_idle(30)
    os.write(1, b"through\\n")
"""
STRIDE = 7  # the steps repeat from exchange to exchange
FED = 25  # what a dead worker had in hand comes singly to the next, which takes more steps


def test_death_at_each_step_of_an_exchange_loses_no_event(work: Work, spawn_python: Spawn) -> None:
    """Just before any statement of its worker: all is handled in the end, and has one fresh success at most."""
    work.publish(8)
    handled: list[str] = []
    died = 0
    with FileEventQueue[int](work.root, payload_type=int) as queue:
        while "through" not in handled:
            if died < FED:
                queue.publish_many(range(8))
            child = spawn_python(TRAPPED, work.root, 1 + STRIDE * died)
            output, errors = child.communicate(timeout=120)
            handled += output.split()
            assert child.returncode in (0, -9), errors
            died += child.returncode == -9
        tail = int(queue.stats()["tail"])
        queue.subscribe(
            lambda event: handled.append(str(event.id)),
            group="billing",
            lease_seconds=0.1,
            max_attempts=1000,
            backoff=0,
        )
        assert queue.wait_until_idle(60)
        assert {int(each) for each in handled if each.isdigit()} == set(range(1, tail + 1))
        fresh = Counter(each.event_id for each in all_results(queue) if each.success and not each.stale)
        assert fresh == dict.fromkeys(range(1, tail + 1), 1)
        assert queue.dead_letters("billing").items == []
        assert [(each.lag, each.leased, each.waiting, each.dead) for each in queue.groups()] == [(0, 0, 0, 0)]
    assert died > 10
