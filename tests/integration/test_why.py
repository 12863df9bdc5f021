"""`eventy-sync why`: the story of one event, wherever it has got to."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventy_sync import FileEventQueue, NonceSubscriber, QueueEvent, Retention, Subscriber
from eventy_sync.identifiers import new_id
from eventy_sync.models import EventResult
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.server import RedisServer
from eventy_sync.storage.state import StateStore

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Spawn = Callable[..., "subprocess.Popen[str]"]
Wait = Callable[..., None]
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  "


@pytest.fixture
def why(run_cli: Run, root: Path) -> Callable[..., list[str]]:
    """Return the lines of an event's story, without times but in their order."""

    def tell(event_id: int) -> list[str]:
        done = run_cli("why", "-d", root, event_id)
        assert (done.returncode, done.stderr) == (0, "")
        return [re.sub(f"^({TIME}|now {{20,}})", "", line) for line in done.stdout.splitlines()]

    return tell


Why = Callable[[int], "list[str]"]


def fail(event: QueueEvent[Any]) -> None:
    raise ValueError("no such order")


def test_an_event_that_was_given_up_tells_of_all_its_attempts(run_cli: Run, why: Why, root: Path) -> None:
    """In order of time, with the last line of each traceback and no more of it; as JSON, too."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(fail, group="billing", max_attempts=2, backoff=0)
        queue.publish({"secret": "payload"}, key="order-7")
        assert queue.wait_until_idle(20)
        worker = queue.worker_id
    assert why(1) == [
        "published with the key 'order-7'",
        f"group billing: failed by attempt 1, token 1, worker {worker}: ValueError: no such order",
        f"group billing: failed by attempt 2, token 2, worker {worker}: ValueError: no such order",
        f"group billing: given up after 2 attempts, worker {worker}: ValueError: no such order",
    ]
    told = [json.loads(line) for line in run_cli("why", "-d", root, 1, "--json").stdout.splitlines()]
    assert [each["kind"] for each in told] == ["published", "failed", "failed", "dead"]
    assert told[0]["facts"]["key"] == "order-7"
    assert (told[2]["facts"]["attempt"], told[2]["facts"]["token"]) == (2, 2)
    assert "payload" not in str(told)


def test_an_event_that_was_handled_tells_by_whom(why: Why, root: Path) -> None:
    """A group and a subscriber, each once."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(lambda event: None, group="billing")
        subscription = queue.subscribe(lambda event: "seen")
        queue.publish({})
        assert queue.wait_until_idle(20)
        worker = queue.worker_id
    published, *handled, finished = why(1)
    assert (published, finished) == ("published", "group billing: finished")
    assert sorted(handled) == [
        f"group billing: handled by attempt 1, token 1, worker {worker}",
        f"subscriber {subscription.id}: handled by attempt 1, worker {worker}: seen",
    ]


def test_an_event_that_nobody_has_handled_says_so(why: Why, root: Path) -> None:
    """Without groups, and with one that is paused, whose lag it tells."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.publish({})
        assert why(1) == ["published", "no group or subscriber has handled it yet, and there are no groups"]
        queue.subscribe(lambda event: None, group="billing", from_index=2)
        queue.pause_group("billing")
        queue.publish_many([{}, {}])
        assert why(3) == [
            "published",
            "group billing: not handed out yet; lag 2 (the group is paused)",
            "no group or subscriber has handled it yet: billing: lag 2",
        ]
        assert why(1)[1] == "group billing: began behind this event, and never gets it"


def test_an_event_that_is_not_due_yet_waits(why: Why, root: Path) -> None:
    """Its time is told, and that it waits until then."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(lambda event: None, group="billing")
        queue.publish({}, delay_seconds=3600)
        queue.publish({})
        assert queue.wait_for_result(2, 20, group="billing")
    assert why(1) == [
        "published",
        "due: it is handed out from then on",
        "group billing: waits until then for attempt 1",
    ]


def test_an_event_that_waits_for_another_attempt_says_for_which(why: Why, root: Path, wait_until: Wait) -> None:
    """Until then it waits; and once its time is over without a worker, that is said."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(fail, group="billing", max_attempts=9, backoff=3)
        queue.publish({})
        wait_until(lambda: queue.groups()[0].waiting == 1)
        assert why(1)[-1] == "group billing: waits until then for attempt 2"
    wait_until(lambda: "no worker has taken it since" in why(1)[-1])


def test_an_event_that_a_worker_has_says_who_until_when(why: Why, root: Path) -> None:
    """While the handler runs."""
    begun, may_end = threading.Event(), threading.Event()

    def handle(event: QueueEvent[Any]) -> None:
        begun.set()
        may_end.wait(30)

    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(handle, group="billing", lease_seconds=600)
        queue.publish({})
        assert begun.wait(20)
        story = why(1)
        may_end.set()
        assert story[0] == "published"
        lease = f"group billing: leased for attempt 1, token 1, worker {queue.worker_id}, until {TIME.strip()}"
        assert re.fullmatch(lease, story[1])


def test_a_lease_of_a_worker_that_was_killed_has_run_out(
    why: Why, root: Path, spawn_python: Spawn, wait_until: Wait
) -> None:
    """Read from what a dead process has left, which stays as it is."""
    worker = spawn_python(
        """
        import sys, threading
        from eventy_sync import FileEventQueue
        with FileEventQueue(sys.argv[1], payload_type=dict) as queue:
            def handle(event):
                print("begun", flush=True)
                threading.Event().wait()
            queue.subscribe(handle, group="billing", lease_seconds=0.5)
            queue.publish({})
            threading.Event().wait()
        """,
        root,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "begun\n"
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    left = {each.name: each.read_bytes() for each in root.iterdir() if each.is_file() and "-shm" not in each.name}
    wait_until(lambda: "that has run out, and the next worker that asks takes it over" in why(1)[-1])
    assert {each.name: each.read_bytes() for each in root.iterdir() if each.name in left} == left


def test_a_result_that_came_too_late_is_called_stale(why: Why, root: Path) -> None:
    """It does not count, and the story says so."""
    with FileEventQueue(root, payload_type=dict) as queue:
        at = queue.publish({}).created_at
    store = StateStore(root / "state.db")
    store.results.add_many(
        [EventResult(new_id(), 1, UUID(int=1), True, None, at, group="billing", token=3, stale=True)]
    )
    store.close()
    assert "stale: the lease had gone to another worker, so it does not count" in why(1)[1]


@dataclass
class Noted(Subscriber[Any]):
    """A stored subscriber."""

    def on_event(self, event: QueueEvent[Any], event_queue: Any) -> None:
        pass


def test_a_claim_that_is_taken_for_the_event_is_told_of(why: Why, root: Path) -> None:
    """One of a NonceSubscriber, which ends in the event's id; others that only look alike are not."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(NonceSubscriber(Noted(), name="once"))
        queue.create_claim("report-1")
        queue.create_claim("once:11")
        queue.publish({})
        assert queue.wait_until_idle(20)
        claims = [line for line in why(1) if "claim" in line]
    assert len(claims) == 1
    assert claims[0].startswith("the claim 'once:1', as NonceSubscriber takes it, is held by worker ")


def test_unknown_expired_and_damaged_events_get_one_line(run_cli: Run, root: Path) -> None:
    """On stderr, with the exit code of each; as JSON on stdout."""
    with FileEventQueue(root, payload_type=dict, segment_bytes=4096, retention=Retention(max_events=40)) as queue:
        for number in range(200):
            queue.publish({"n": number})
    (segment, *_) = sorted((root / "events").glob("*.log"))
    oldest = int(segment.stem)
    data = bytearray(segment.read_bytes())
    data[30] ^= 0xFF
    segment.write_bytes(data)
    for event_id, code, kind, text in (
        (201, 1, "unknown", "there is no event 201"),
        (1, 1, "expired", "event 1 was dropped by retention"),
        (oldest, 3, "corrupt", f"event {oldest} is lost: {segment.name}: corrupt record"),
    ):
        done = run_cli("why", "-d", root, event_id)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(f"Error: {text}")
        assert done.stderr.count("\n") == 1
        told = run_cli("why", "-d", root, event_id, "--json")
        assert (told.returncode, json.loads(told.stdout)["kind"]) == (code, kind)


def test_it_makes_no_queue(run_cli: Run, root: Path) -> None:
    """A directory that is none is refused."""
    done = run_cli("why", "-d", root, 1)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not a queue" in done.stderr
    assert not root.exists()


def test_where_redis_coordinates_it_tells_what_this_root_knows(why: Why, server: RedisServer, root: Path) -> None:
    """And says so; Redis is not asked."""
    with RedisFileEventQueue(root, payload_type=dict, redis_url=server.url) as queue:
        queue.subscribe(lambda event: None, group="billing")
        queue.publish({})
        assert queue.wait_for_result(1, 20, group="billing")
    server.stop()
    story = why(1)
    assert story[1].startswith("group billing: handled by attempt 1, token 1, worker ")
    assert story[-1] == "this is as far as this root knows; other roots may know later things"
