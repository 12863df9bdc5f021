"""Waiting for a result: woken by it, in one process, in two, and on two hosts; nobody looks again and again."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from eventy_sync import (
    EventQueue,
    EventResult,
    FileEventQueue,
    QueueClosedError,
    QueueEvent,
    RedisFileEventQueue,
    ResultNotFoundError,
    Subscriber,
)
from eventy_sync.delivery import log_watcher
from eventy_sync.file import waiting
from eventy_sync.file.abstract_queue import AbstractFileEventQueue
from eventy_sync.identifiers import new_id
from eventy_sync.redis import coordinator
from eventy_sync.redis.server import RedisServer
from eventy_sync.storage.state import make_runs

Queue = AbstractFileEventQueue[Any]
Wait = Callable[..., None]
NEVER_SECONDS = 1000.0


@dataclass
class Noting(Subscriber[Any]):
    """A stored subscriber."""

    def on_event(self, event: QueueEvent[Any], event_queue: EventQueue[Any]) -> str:
        return "noted"


@pytest.fixture
def queue(root: Path) -> Iterator[Queue]:
    with FileEventQueue[Any](root) as queue:
        yield queue


@pytest.fixture
def nobody_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is looked at now and then is not looked at in this test."""
    monkeypatch.setattr(waiting, "FIRST_PAUSE_SECONDS", NEVER_SECONDS)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE_SECONDS", NEVER_SECONDS)
    monkeypatch.setattr(log_watcher, "TICK_SECONDS", NEVER_SECONDS)
    monkeypatch.setattr(coordinator, "APPLY_SECONDS", NEVER_SECONDS)


@contextmanager
def a_waiter(queue: Queue, wait_until: Wait, **how: Any) -> Iterator[list[Any]]:
    """Let a thread wait for the result of event 1, and yield what came of it, which is there at the block's end."""
    found: list[Any] = []

    def wait() -> None:
        try:
            found.append(queue.wait_for_result(1, **{"timeout": 20, **how}))
        except (ResultNotFoundError, QueueClosedError) as exc:
            found.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        wait_until(lambda: queue._opened().store.results.stored._waiting)
        yield found
    finally:
        thread.join(30)
    assert len(found) == 1


def result(details: str, **changed: Any) -> EventResult:
    return EventResult(new_id(), 1, uuid4(), True, details, datetime.now(timezone.utc), **changed)


@pytest.mark.usefixtures("nobody_polls")
def test_a_result_wakes_whoever_waits_in_its_process(queue: Queue, wait_until: Wait) -> None:
    """Without anybody looking."""
    queue.publish(1)
    with a_waiter(queue, wait_until) as found:
        queue.subscribe(lambda event: "handled", from_index=1)
    assert found[0].details == "handled"


@pytest.mark.usefixtures("nobody_polls")
def test_a_run_of_results_wakes_whoever_waits(queue: Queue, wait_until: Wait) -> None:
    """The result is one of those in it."""
    with a_waiter(queue, wait_until, group="billing") as found:
        (run,) = make_runs(0, [5, 6], [1, 1], worker_id=queue.worker_id, group="billing")
        queue._opened().store.results.add([], [run])
    assert found == [run.result(1)]


@pytest.mark.usefixtures("nobody_polls")
def test_only_what_is_waited_for_ends_the_waiting(queue: Queue, wait_until: Wait) -> None:
    """Neither another event's result, nor one of another group, nor a stale one."""
    results = queue._opened().store.results
    with a_waiter(queue, wait_until, group="billing") as found:
        others = [result("stale", group="billing", stale=True), result("mailing", group="mailing"), result("none")]
        for each in others:
            results.add_many([each])
        results.add([], make_runs(1, [5], [1], worker_id=queue.worker_id, group="billing", stale=True))
        results.add([], make_runs(2, [5], [1], worker_id=queue.worker_id, group="billing"))
        assert found == []
        wanted = result("billing", group="billing", attempt=2)
        results.add_many([wanted])
    assert found == [wanted]
    assert queue.wait_for_result(1, timeout=0) == others[1]
    assert queue.wait_for_result(1, group="mailing", timeout=0) == others[1]


@pytest.mark.parametrize(("how", "says"), [({}, "no result after"), ({"group": "x"}, "no result of the group 'x' aft")])
def test_waiting_ends_with_its_time(queue: Queue, how: dict[str, Any], says: str) -> None:
    """A stale result is none; the error says what was waited for."""
    queue._opened().store.results.add_many([result("stale", stale=True, group="x")])
    with pytest.raises(ResultNotFoundError, match=says):
        queue.wait_for_result(1, timeout=0.02, **how)


def test_waiting_ends_with_its_queue(queue: Queue, wait_until: Wait) -> None:
    """However long it would have gone on."""
    with a_waiter(queue, wait_until, timeout=None) as found:
        queue.close()
    assert isinstance(found[0], QueueClosedError)


def test_a_result_of_another_process_is_seen(
    queue: Queue, root: Path, wait_until: Wait, spawn_python: Callable[..., subprocess.Popen[str]]
) -> None:
    """On one directory, where nobody can call; the waiting process starts no thread for it."""
    queue.publish(1)
    threads = threading.active_count()
    with a_waiter(queue, wait_until) as found:
        code = """
            import sys
            from eventy_sync import FileEventQueue
            with FileEventQueue(sys.argv[1]) as queue:
                queue.subscribe(lambda event: "handled elsewhere", from_index=1)
                assert queue.wait_until_idle(20)
        """
        process = spawn_python(code, root)
        assert process.wait(30) == 0
    assert found[0].details == "handled elsewhere"
    assert threading.active_count() == threads


# -- on two hosts -------------------------------------------------------------------------------------------------


@pytest.fixture
def roots(tmp_path: Path, shared_server: RedisServer) -> Iterator[list[Queue]]:
    """Two roots of one queue."""
    fields: dict[str, Any] = {"name": "orders", "redis_url": shared_server.url, "redis_prefix": uuid4().hex}
    with RedisFileEventQueue(tmp_path / "a", **fields) as a, RedisFileEventQueue(tmp_path / "b", **fields) as b:
        yield [a, b]


@pytest.mark.usefixtures("nobody_polls")
def test_a_result_of_another_root_wakes_whoever_waits(roots: list[Queue], wait_until: Wait) -> None:
    """By the message that it was told, though neither root had listened before and nothing looks now and then."""
    worker, waiter = roots
    waiter.publish(1)
    with a_waiter(waiter, wait_until) as found:
        worker.subscribe(lambda event: "handled", from_index=1)
    assert (found[0].details, found[0].worker_id) == ("handled", worker.worker_id)


@pytest.mark.usefixtures("nobody_polls")
def test_a_result_that_was_told_before_is_found(roots: list[Queue], wait_until: Wait) -> None:
    """Whoever begins to listen hears first what there was."""
    worker, waiter = roots
    worker.subscribe(lambda event: "handled")
    worker.publish(1)
    wait_until(lambda: worker.count_results() == 1 and not worker._opened().store.outbox.first(1))
    assert waiter.count_results() == 0
    assert waiter.wait_for_result(1, timeout=20).details == "handled"


def test_waiting_and_following_do_not_deliver(roots: list[Queue], monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has a stored subscriber's class does not run it because it listens."""
    monkeypatch.setattr(log_watcher, "TICK_SECONDS", 0.001)
    worker, waiter = roots
    worker.subscribe(Noting())
    for number in range(1, 21):
        worker.publish(number)
        assert waiter.wait_for_result(number, timeout=20).worker_id == worker.worker_id
        assert len(list(waiter.iter_events(number, follow=True, timeout=0.01))) == 1
    assert waiter.count_subscriptions() == 1
    assert waiter._opened().dispatcher.subscriptions() == []
