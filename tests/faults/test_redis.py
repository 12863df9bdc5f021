"""Roots on several hosts, and a server that dies, freezes, forgets and comes back.  Real servers, real processes."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import CoordinationError, FileEventQueue, QueueIdentityError, RedisConfigurationError, Subscriber
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.server import RedisServer

Queue = RedisFileEventQueue[Any]
Spawn = Callable[..., "subprocess.Popen[str]"]
Wait = Callable[..., None]


@pytest.fixture
def make(tmp_path: Path, server: RedisServer) -> Callable[..., Queue]:
    """Make a root of the queue "orders"."""

    def make_queue(root: str = "a", **fields: Any) -> Queue:
        fields = {"name": "orders", "payload_type": dict, "redis_url": server.url, **fields}
        return RedisFileEventQueue(tmp_path / root, **fields)

    return make_queue


Make = Callable[..., Queue]


def log_bytes(queue: Queue) -> bytes:
    """Return all records of a root, whatever the segments."""
    parts = [path.read_bytes() for path in sorted(Path(queue.root_dir).glob("events/*.log"))]
    return b"".join(parts).replace(b"\n\n", b"\n")


def wait_for_mode(queue: Queue, mode: str, wait_until: Wait) -> None:
    wait_until(lambda: queue.health()["mode"] == mode)


def numbers(queue: Queue) -> list[int]:
    return [event.payload["n"] for event in queue.iter_events(queue.stats()["oldest"])]


PUBLISHER = """
    import sys
    from eventy_sync.redis import RedisFileEventQueue

    root, url, by = sys.argv[1:4]
    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url, segment_bytes=8192) as queue:
        queue.count_events()
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(150):
            if n % 10:
                queue.publish({"by": by, "n": n})
            else:
                queue.publish_many([{"by": by, "n": n}, {"by": by, "n": -n}])
"""


def test_three_roots_of_two_processes_each_publish_together(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Spawn, wait_until: Wait
) -> None:
    """All logs are equal byte for byte, ids run on, each subscriber sees all in order."""
    with make("a") as a, make("b") as b, make("c") as c:
        seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
        for name, queue in (("a", a), ("b", b), ("c", c)):
            queue.subscribe(lambda event, name=name: seen[name].append(event.id))
        publishers = [spawn_python(PUBLISHER, tmp_path / root, server.url, root + n) for root in "abc" for n in "12"]
        for publisher in publishers:
            assert publisher.stdout is not None
            assert publisher.stdout.readline() == "ready\n"
        for publisher in publishers:
            assert publisher.stdin is not None
            publisher.stdin.write("\n")
            publisher.stdin.flush()
        for publisher in publishers:
            _, errors = publisher.communicate(timeout=120)
            assert (publisher.returncode, errors) == (0, "")
        expected = list(range(1, 6 * 165 + 1))
        wait_until(lambda: all(each == expected for each in seen.values()))
        assert log_bytes(a) == log_bytes(b) == log_bytes(c)
        for by in ("a1", "b2"):
            mine = [event.payload["n"] for event in c.iter_events() if event.payload["by"] == by]
            assert [n for n in mine if n > 0] == list(range(1, 150))


def test_a_root_that_was_away_catches_up(make: Make, wait_until: Wait) -> None:
    """When it opens, when it publishes, and when it reads."""
    with make("a") as a, make("b") as b:
        a.publish({"n": 1})
    with make("a") as a:
        a.publish_many([{"n": number} for number in range(2, 300)])
    with make("b") as b:
        assert numbers(b) == list(range(1, 300))
        with make("a") as a:
            a.publish_many([{"n": number} for number in range(300, 900)])
            assert b.publish({"n": 900}).id == 900
            assert numbers(b) == list(range(1, 901))
            assert a.publish({"n": 901}).id == 901
            wait_until(lambda: numbers(b)[-1] == 901)
        assert log_bytes(a) == log_bytes(b)


def test_a_new_empty_root_starts_at_the_present(make: Make, wait_until: Wait) -> None:
    """Its first event has the queue's next id; earlier ones are not its business."""
    with make("a") as a:
        a.publish_many([{"n": number} for number in range(1, 6)])
        with make("b") as b:
            seen: list[int] = []
            b.subscribe(lambda event: seen.append(event.id))
            assert b.publish({"n": 6}).id == 6
            a.publish({"n": 7})
            wait_until(lambda: seen == [6, 7])
            assert numbers(b) == [6, 7]
            assert b.health()["gaps"] == 0
    with make("b") as b:
        assert numbers(b) == [6, 7]


def test_without_a_server_a_root_that_is_alone_does_everything(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Absent at the start, back later: whole again by itself."""
    server.stop()
    with make("a") as a:
        assert a.health()["mode"] == "degraded"
        assert [a.publish({"n": number}).id for number in range(3)] == [1, 2, 3]
        assert a.create_claim("x")
        server.start()
        wait_for_mode(a, "connected", wait_until)
        assert a.publish({"n": 3}).id == 4
        with make("b") as b:
            assert not b.create_claim("x")
            assert b.publish({"n": 4}).id == 5
        wait_until(lambda: numbers(a) == [0, 1, 2, 3, 4])


@pytest.mark.parametrize("loss", ["restart", "flushall", "counter", "journal"])
def test_a_server_that_forgot_everything_is_told(make: Make, server: RedisServer, wait_until: Wait, loss: str) -> None:
    """Two roots that live go on where they were: no id twice, no event lost, equal logs."""
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        a.subscribe(lambda event: seen.append(event.id))
        b.subscribe(lambda event: None)
        for number in range(20):
            (a if number % 2 else b).publish({"n": number})
        assert a.create_claim("x")
        if loss == "restart":
            server.kill()
            server.start()
        elif loss == "flushall":
            server.command("FLUSHALL")
        elif loss == "counter":
            server.command("DEL", "eventy:orders:next_event_id")
        else:
            server.command("DEL", "eventy:orders:journal")
        for number in range(20, 40):
            publish_when_possible(a if number % 2 else b, {"n": number}, wait_until)
        wait_until(lambda: seen == list(range(1, 41)))
        wait_until(lambda: log_bytes(a) == log_bytes(b))
        assert numbers(a) == list(range(40))
        assert not b.create_claim("x")


def publish_when_possible(queue: Queue, payload: Any, wait_until: Wait) -> None:
    """Publish, trying again while it is refused."""

    def attempt() -> bool:
        try:
            queue.publish(payload)
        except CoordinationError as exc:
            assert "was not published" in str(exc)  # noqa: PT017 - an unknown outcome must not be tried again
            return False
        return True

    wait_until(attempt)


def test_with_other_roots_a_lost_server_refuses_what_is_unsafe(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The error says since when and why; reading and delivering go on; then it is whole again."""
    with make("a") as a, make("b") as b:
        a.publish({"n": 0})
        b.publish({"n": 1})
        a.publish({"n": 2})
        server.kill()
        wait_until(lambda: a.health()["mode"] == "degraded" or publishes(a))
        with pytest.raises(CoordinationError, match=r"degraded since .*forget-root"):
            a.publish({"n": "no"})
        with pytest.raises(CoordinationError, match="the claim was not taken"):
            a.create_claim("x")
        assert numbers(a) == [0, 1, 2]
        server.start()
        wait_for_mode(a, "connected", wait_until)
        publish_when_possible(b, {"n": 3}, wait_until)
        publish_when_possible(a, {"n": 4}, wait_until)
        wait_until(lambda: numbers(a) == [0, 1, 2, 3, 4])


def publishes(queue: Queue) -> bool:
    try:
        queue.publish({"n": "no"})
    except CoordinationError:
        return False
    raise AssertionError("it was published without a server")


def test_a_frozen_server_holds_up_one_call_only(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Alone: the first publish takes the timeout, the next ones nothing; all are there when it thaws."""
    with make("a") as a:
        a.publish({"n": 0})
        server.freeze()
        started = time.monotonic()
        a.publish({"n": 1})
        assert time.monotonic() - started < 10
        started = time.monotonic()
        for number in range(2, 50):
            a.publish({"n": number})
        assert time.monotonic() - started < 2
        server.thaw()
        wait_for_mode(a, "connected", wait_until)
        a.publish({"n": 50})
        assert numbers(a) == list(range(51))
        with make("b") as b:
            assert b.publish({"n": 51}).id == 52


def test_a_monitor_that_is_cut_off_misses_nothing(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """However often its connection is killed."""
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        for number in range(100):
            server.command("CLIENT", "KILL", "TYPE", "pubsub")
            a.publish({"n": number})
        wait_until(lambda: seen == list(range(1, 101)))


def test_another_queue_of_the_same_name_is_refused(make: Make, tmp_path: Path) -> None:
    """The error names both and the ways out."""
    with make("a") as a:
        a.publish({"n": 0})
    with FileEventQueue[Any](tmp_path / "b", payload_type=dict) as alone:
        alone.publish({"n": 0})
    with pytest.raises(QueueIdentityError, match=r"another queue is called 'orders'.*redis_prefix="):
        make("b").open()


@pytest.mark.parametrize(
    ("config", "fields", "says"),
    [
        ({"requirepass": "hunter2"}, {}, "password"),
        ({"requirepass": "hunter2"}, {"redis_password": "wrong-secret"}, "password"),
        ({}, {"redis_db": 99}, "database"),
        ({}, {"redis_url": "redis://h/notanumber"}, "database number"),
        ({}, {"redis_url": "http://localhost"}, "must begin with redis://"),
    ],
)
def test_a_server_that_will_never_do_is_said_at_once(
    tmp_path: Path, config: dict[str, str], fields: dict[str, Any], says: str
) -> None:
    """Not degraded, but an error for a person; no secret in it, and nothing left open."""
    with RedisServer(**config) as server, pytest.raises(RedisConfigurationError, match=says) as raised:
        RedisFileEventQueue[Any](tmp_path / "a", **{"redis_url": server.url, **fields}).open()
    assert "hunter2" not in str(raised.value)
    assert "wrong-secret" not in str(raised.value)


def test_keys_of_something_else_are_said_at_once(make: Make, server: RedisServer) -> None:
    """A key of another type under our name."""
    server.command("SET", "eventy:orders:meta", "something else")
    with pytest.raises(RedisConfigurationError, match="redis_prefix"):
        make("a").open()
    server.command("DEL", "eventy:orders:meta")
    server.command("SET", "eventy:orders:next_event_id", "seven")
    with pytest.raises(RedisConfigurationError):
        make("a").open()


def test_no_password_is_ever_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in a repr, nor in health, nor in the log, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    with RedisServer(requirepass="hunter2") as server:
        url = server.url.replace("redis://", "redis://:hunter2@")
        queue = RedisFileEventQueue[Any](tmp_path / "a", redis_url=url)
        other = RedisFileEventQueue[Any](tmp_path / "b", redis_url=server.url, redis_password="hunter2")
        with queue:
            queue.publish(1)
            server.kill()
            queue.publish(2)
            text = f"{queue!r} {other!r} {queue.health()} {queue.redis_address} {caplog.text}"
    assert "degraded" in text
    assert ":***@" in text
    assert "hunter2" not in text


def test_foreign_messages_change_nothing(
    make: Make, server: RedisServer, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """Forged, oversized, malformed: one warning, and delivery goes on."""
    with make("a") as a:
        seen: list[int] = []
        a.subscribe(lambda event: seen.append(event.id))
        wait_until(lambda: server.command("PUBSUB", "NUMSUB", "eventy:orders:events")[1] == 1)
        for data in (
            b"",
            b"\xff\x00",
            b"[" * 10_000,
            b'{"type":"add_event"}',
            b'{"type":"import","module":"os"}',
            b'{"type":"add_event","worker_id":"x","root_id":"y","last_id":-5}',
            b'{"type":"add_event","worker_id":"x","root_id":"y","last_id":99999999999999999999999}',
            b'{"type":"add_event","worker_id":"x","root_id":"y","last_id":1000000}',
            b'{"type":"heartbeat","worker_id":"x","root_id":"y","epoch":"forged"}',
            b"x" * 100_000,
        ):
            server.command("PUBLISH", "eventy:orders:events", data)
        a.publish({"n": 0})
        wait_until(lambda: seen == [1])
        assert caplog.text.count("messages passed over") == 1


def test_a_root_behind_the_journal_gets_the_rest_from_another(make: Make, wait_until: Wait) -> None:
    """Byte for byte; the peer must be one that delivers, for only those listen."""
    with make("a", journal_length=100) as a:
        a.subscribe(lambda event: None)
        with make("b") as b:
            b.publish({"n": 0})
        for start in range(1, 5000, 500):
            a.publish_many([{"n": number} for number in range(start, start + 500)])
        with make("b") as b:
            assert b.health()["mode"] == "connected"
            assert numbers(b) == list(range(5001))
            assert b.publish({"n": 5001}).id == 5002
        wait_until(lambda: log_bytes(a) == log_bytes(b))


def test_a_new_root_gets_everything_if_it_asks(make: Make) -> None:
    """`resync=True`; also what another root has under retention."""
    with make("a", journal_length=10) as a:
        a.subscribe(lambda event: None)
        a.publish_many([{"n": number} for number in range(1000)])
        with make("b", resync=True) as b:
            assert numbers(b) == list(range(1000))
            assert log_bytes(a) == log_bytes(b)


def test_what_no_root_has_is_written_down_as_lost(make: Make, server: RedisServer, caplog: Any) -> None:
    """After the timeout, as an ERROR; delivery goes on behind it."""
    with make("a") as a:
        a.publish_many([{"n": number} for number in range(5)])
    with make("b") as b:
        b.publish({"n": 5})  # b began behind what a has
        b.publish_many([{"n": number} for number in range(6, 300)])
    server.command("XTRIM", "eventy:orders:journal", "MINID", "300-0")
    with make("a", resync_lock_timeout_seconds=0.5) as a:
        assert "events lost: first_id=6 last_id=299" in caplog.text
        assert a.publish({"n": 300}).id == 301
        assert numbers(a) == [0, 1, 2, 3, 4, 299, 300]
        assert a.verify().damages == []


KILLED = """
    import os, signal, sys
    from eventy_sync.redis import RedisFileEventQueue
    from eventy_sync.redis.journal import Journal
    from eventy_sync.storage.log.writer import LogWriter

    root, url, by, kill_at = sys.argv[1:5]
    step = 0

    def before(cls, name):
        real = getattr(cls, name)

        def call(*arguments, **options):
            die()
            try:
                return real(*arguments, **options)
            finally:
                die()

        setattr(cls, name, call)

    def die():
        global step
        step += 1
        if step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    with RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url) as queue:
        before(Journal, "publish")
        before(LogWriter, "_write_locked")
        for n in range(4):
            print(queue.publish({"by": by, "n": n}).id, flush=True)
"""


@pytest.mark.parametrize("kill_at", range(1, 14))
def test_kill_9_between_the_steps_of_a_publish(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Spawn, wait_until: Wait, kill_at: int
) -> None:
    """No acknowledged event is lost, none is there twice, and both logs are equal."""
    with make("b") as b:
        b.subscribe(lambda event: None)
        b.publish({"by": "b", "n": -1})
        victim = spawn_python(KILLED, tmp_path / "a", server.url, "a", kill_at)
        output, _ = victim.communicate(timeout=60)
        acknowledged = [int(line) for line in output.split()]
        assert victim.returncode == -9
        with make("a") as a:
            a.publish({"by": "a", "n": 99})
            tail = a.health()["tail"]
            wait_until(lambda: b.health()["tail"] == tail)
            events = list(b.iter_events(2))
            assert [event.id for event in events] == list(range(2, tail + 1))
            mine = [event.payload["n"] for event in events]
            assert mine == [*range(len(mine) - 1), 99]
            assert len(mine) - 1 >= len(acknowledged)
            assert list(a.iter_events(2)) == events


@dataclass
class Note(Subscriber[Any]):
    """A stored subscriber."""

    word: str

    def on_event(self, event: Any, event_queue: Any) -> str:
        return f"{self.word} {event.id}"


def test_stored_subscribers_and_results_reach_every_root(make: Make, wait_until: Wait) -> None:
    """Made on one, it runs on the other; each root has both results; removed on one, it ends on both."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: None)
        subscription = a.subscribe(Note("noted"))
        wait_until(lambda: len(b.search_subscriptions().items) == 2)
        wait_until(lambda: any(thread.name.endswith(subscription.id.hex[-6:]) for thread in threads_of(b)))
        a.publish({"n": 0})

        def noted(queue: Queue) -> int:
            return sum(result.details == "noted 1" for result in queue.search_results(event_id__eq=1).items)

        wait_until(lambda: noted(a) == noted(b) == 2)
        assert b.unsubscribe(subscription.id)
        wait_until(lambda: len(a.search_subscriptions().items) == 1)


def threads_of(queue: Queue) -> list[threading.Thread]:
    return threading.enumerate()


def test_changes_survive_a_server_that_forgets(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """What was told while it was away, and what it lost, is told again."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: None)
        server.kill()
        wait_for_mode(a, "degraded", wait_until)
        subscription = a.subscribe(Note("later"))
        server.start()
        wait_until(lambda: b.batch_get_subscriptions([subscription.id])[0] is not None)


def test_a_forked_child_has_connections_of_its_own(
    make: Make, server: RedisServer, spawn_python: Spawn, tmp_path: Path
) -> None:
    """Parent and child publish at once, as after a preload; neither takes the other's replies."""
    forked = """
        import os, sys
        from eventy_sync.redis import RedisFileEventQueue

        with RedisFileEventQueue(sys.argv[1], name="orders", payload_type=dict, redis_url=sys.argv[2]) as queue:
            seen = []
            queue.subscribe(lambda event: seen.append(event.id))
            queue.publish({"by": "parent"})
            worker_id = queue.worker_id
            children = []
            for _ in range(3):
                if (pid := os.fork()) == 0:
                    assert queue.worker_id != worker_id
                    for n in range(50):
                        queue.publish({"by": "child"})
                    queue.close()
                    os._exit(0)
                children.append(pid)
            for n in range(50):
                queue.publish({"by": "parent"})
            for pid in children:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert queue.wait_until_idle(20)
            assert seen == list(range(1, 202)), seen
        print("through")
    """
    output, errors = spawn_python(forked, tmp_path / "a", server.url).communicate(timeout=60)
    assert (output, errors) == ("through\n", "")
