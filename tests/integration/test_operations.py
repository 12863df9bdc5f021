"""What whoever looks after a queue asks and does: numbers, roots, workers, forgetting, resync.  A real server."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventy_sync import CoordinationError, InvalidArgumentError
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.roots import ROOT_EXPIRY_SECONDS, Root
from eventy_sync.redis.server import RedisServer
from eventy_sync.redis.workers import EXPIRY_SECONDS, Worker

Queue = RedisFileEventQueue[Any]
Make = Callable[..., Queue]
Wait = Callable[..., None]
WORKERS, ROOTS, META = "eventy:orders:workers", "eventy:orders:roots", "eventy:orders:meta"
WORKER = """
    import sys
    from eventy_sync.redis import RedisFileEventQueue
    with RedisFileEventQueue(sys.argv[1], name="orders", payload_type=dict, redis_url=sys.argv[2]) as queue:
        queue.subscribe(lambda event: None)
        print(queue.worker_id, flush=True)
        for line in sys.stdin:
            try:
                print(queue.publish({}).id, flush=True)
            except Exception as exc:
                print(type(exc).__name__, flush=True)
"""


@pytest.fixture
def make(tmp_path: Path, server: RedisServer) -> Make:
    """Make a root of the queue "orders"."""

    def make_queue(root: str = "a", **fields: Any) -> Queue:
        fields = {"name": "orders", "payload_type": dict, "redis_url": server.url, **fields}
        return RedisFileEventQueue(tmp_path / root, **fields)

    return make_queue


def test_health_and_stats_have_what_an_operator_wants(make: Make, server: RedisServer) -> None:
    """Also without Redis: then what Redis knows is None, and nothing fails."""
    with make("a") as a, make("b") as b:
        a.publish_many([{"n": 1}, {"n": 2}])
        b.request_resync()
        health = b.health()
        assert (health["mode"], health["reason"], health["tail"], health["other_roots"]) == ("connected", None, 2, 1)
        assert health["address"] == f"{server.url}/0"
        assert {"since", "worker_id", "root_id", "gaps", "corrupt_records"} <= health.keys()
        stats = b.stats()
        numbers = ("events_behind", "journal_length", "workers", "roots", "tail")
        assert [stats[each] for each in numbers] == [0, 2, 2, 2, 2]
        server.kill()
        stats = b.stats()
        assert [stats[each] for each in numbers] == [None, None, None, 2, 2]
        assert b.health()["mode"] == "degraded"


def test_health_of_a_process_that_does_nothing_is_the_truth(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """It neither delivers nor publishes, and still says that the server went, and that it is back."""
    with make("a") as a:
        assert a.health()["mode"] == "connected"
        server.kill()
        wait_until(lambda: a.health()["mode"] == "degraded")
        server.start()
        wait_until(lambda: a.health()["mode"] == "connected")


def test_other_roots_are_known_with_what_they_lack(make: Make) -> None:
    """Host, tail, how far behind, whether open; remembered when Redis is gone."""
    with make("b") as b:
        b.publish({"n": 1})
    with make("a", resync=True) as a:
        a.publish_many([{"n": 2}, {"n": 3}])
        (known,) = a.roots()
        assert (known.root_id, known.tail, known.behind, known.is_open) == (str(b_root(make)), 1, 2, False)
        assert known.host
        assert abs(known.seen_at.timestamp() - time.time()) < 60


def b_root(make: Make) -> Any:
    from eventy_sync.file.identity import read_identity

    return read_identity(Path(make("b").root_dir)).root_id


def test_workers_are_known_until_they_leave(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Callable[..., subprocess.Popen[str]]
) -> None:
    """Each with host, process and root; who is silent is marked, who leaves is gone."""
    with make("a") as a:
        other = spawn_python(WORKER, tmp_path / "b", server.url)
        assert other.stdout is not None
        worker_id = other.stdout.readline().strip()
        found = {each.worker_id: each for each in a.workers()}
        assert found.keys() == {str(a.worker_id), worker_id}
        assert found[worker_id].pid == other.pid
        assert found[worker_id].root_id == str(b_root(make))
        assert found[worker_id].host
        assert not found[worker_id].is_silent
        other.communicate(timeout=20)
        assert [each.worker_id for each in a.workers()] == [str(a.worker_id)]
        server.kill()
        a.stats()
        with pytest.raises(CoordinationError, match="who works is not known: degraded since"):
            a.workers()


def test_dead_workers_are_taken_off_the_list(
    make: Make, tmp_path: Path, server: RedisServer, spawn_python: Callable[..., subprocess.Popen[str]]
) -> None:
    """One that was killed on this host as soon as it is silent, one elsewhere after a day; a living one never."""
    killed = spawn_python(WORKER, tmp_path / "a", server.url)
    assert killed.stdout is not None
    name = killed.stdout.readline().strip()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    left = msgspec.json.decode(server.command("HGET", WORKERS, name), type=Worker)

    def put(worker_id: str, seconds_ago: float, **changes: Any) -> None:
        worker = msgspec.structs.replace(left, seen_at=time.time() - seconds_ago, **changes)
        server.command("HSET", WORKERS, worker_id, msgspec.json.encode(worker))

    put(name, 61)
    put("elsewhere", 61, host="another")
    put("of old", EXPIRY_SECONDS + 1, host="another")
    server.command("HSET", WORKERS, "nonsense", b"{")
    with make("a") as a:
        workers = a.workers()
        assert [each.worker_id for each in workers] == [str(a.worker_id), "elsewhere"]
        assert [each.is_silent for each in workers] == [False, True]


def test_a_process_that_only_publishes_is_heard_of(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Its root must not count as gone while it publishes: without a word for a day, others would do without it."""
    with make("a") as a, make("b") as b:
        a.publish({"n": 1})
        (before,) = b.roots()

        def heard() -> bool:
            a.publish({"n": 2})
            (now,) = b.roots()
            return now.seen_at > before.seen_at and now.tail > 1

        wait_until(heard)


def test_roots_that_lived_shortly_do_not_fill_the_server(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """What was kept of them goes when nobody counts with them any more; who may live stays, and is counted with."""
    with make("b") as b:
        b.publish({"n": 1})
    long_ago = time.time() - 2 * ROOT_EXPIRY_SECONDS - 60
    for number in range(150):
        server.command("HSET", ROOTS, f"old {number}", msgspec.json.encode(Root("h", 1, long_ago, number % 2 > 0)))
        server.command("HSET", META, f"last:old {number}", f"token 1 {int(long_ago * 1_000_000)}")
    with make("a") as a:
        a.publish({"n": 2})
        wait_until(lambda: server.command("HLEN", ROOTS) == 2)
        assert len([each for each in server.command("HKEYS", META) if each.startswith(b"last:")]) == 2
        assert server.command("HGET", META, "roots") == b"2"
        server.kill()
        assert not publishes(a)


def test_a_forgotten_root_is_forgotten_by_all(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Nobody waits for it: others hear of it, and go on alone when the server is lost."""
    with make("a") as a, make("b") as b:
        b.subscribe(lambda event: None)
        gone = make("c")
        gone.open()
        gone.publish({"n": 1})
        root_id = gone.health()["root_id"]
        keep_from_leaving(gone)
        wait_until(lambda: len(b.roots()) == 2)
        assert a.forget_root(root_id)
        assert not a.forget_root(root_id)
        assert [each.root_id for each in a.roots()] == [str(b.health()["root_id"])]
        assert [each.root_id for each in b.roots()] == [str(a.health()["root_id"])]
        server.kill()
        server.start()
        wait_until(lambda: publishes(a))
        assert not server.command("SMEMBERS", "eventy:orders:awaiting")


def keep_from_leaving(queue: Queue) -> None:
    """Close a queue as a host that burns down would: without a word."""
    membership = queue._coordinator()._membership
    membership.leave = lambda *_: None  # type: ignore[method-assign]
    queue.close()


def publishes(queue: Queue) -> bool:
    try:
        queue.publish({})
    except CoordinationError:
        return False
    return True


def test_a_degraded_root_forgets_the_others_and_goes_on_alone(
    make: Make,
    tmp_path: Path,
    server: RedisServer,
    wait_until: Wait,
    spawn_python: Callable[..., subprocess.Popen[str]],
) -> None:
    """In all its processes; and Redis, when it is back with what it knew, is told."""
    with make("b") as b:
        b.publish({"n": 1})
        root_id = b.health()["root_id"]
        keep_from_leaving(b)
    worker = spawn_python(WORKER, tmp_path / "a", server.url)
    assert worker.stdout is not None
    assert worker.stdin is not None

    def ask() -> str:
        assert worker.stdout is not None
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
        return worker.stdout.readline().strip()

    worker.stdout.readline()
    assert ask() == "2"
    before = server.command("HGETALL", ROOTS)
    server.kill()
    assert ask() == "CoordinationError"
    with make("a") as a:
        with pytest.raises(CoordinationError, match="forget-root"):
            a.publish({})
        assert a.forget_root(root_id)
        assert a.roots() == []
        assert a.publish({}).id == 3
        assert ask() == "4"
        server.start()
        server.command("HSET", ROOTS, *[part for pair in before.items() for part in pair])
        wait_until(lambda: ask().isdigit() and a.health()["mode"] == "connected")
        assert a.health()["other_roots"] == 0
        wait_until(lambda: b'"forgotten":true' in server.command("HGET", ROOTS, str(root_id)))


def test_a_forgotten_root_that_speaks_again_is_back(make: Make, wait_until: Wait) -> None:
    """It was not gone after all: whoever forgot it hears of it again."""
    with make("a") as a:
        with make("b") as b:
            root_id = b.health()["root_id"]
        assert a.forget_root(root_id)
        assert a.roots() == []
        with make("b"):
            assert [each.root_id for each in a.roots()] == [str(root_id)]


def test_a_root_does_not_forget_itself_or_whom_it_does_not_know(make: Make, server: RedisServer) -> None:
    """The one is an error, the other leaves nothing behind in Redis."""
    with make("a") as a:
        with pytest.raises(InvalidArgumentError, match="is this root itself"):
            a.forget_root(a.health()["root_id"])
        assert not a.forget_root("nobody")
        assert server.command("HLEN", ROOTS) == 1


def test_a_resync_that_is_asked_for_is_done_at_once(make: Make) -> None:
    """A reader looks once a second by itself; asked for, what others published is here when the call returns."""
    with make("a") as a, make("b") as b:
        for number in range(1, 20):
            a.publish({"n": number})
            b.request_resync()
            assert b.get_event(number).payload == {"n": number}


def test_a_root_too_far_behind_is_brought_up_by_another(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Asking returns at once; what the journal no longer has comes from a worker of another root."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        assert b.count_events() == 0
        a.publish_many([{"n": number} for number in range(500)])
        assert server.command("XTRIM", "eventy:orders:journal", "MAXLEN", 10) > 0
        b.request_resync()
        wait_until(lambda: b.count_events() == 500 and b.health()["mode"] == "connected")
        assert [event.payload["n"] for event in b.iter_events()] == list(range(500))
