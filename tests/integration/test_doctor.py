"""`eventy-sync doctor`: each thing that can be wrong is made wrong, and the command says so and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import FileEventQueue, QueueEvent
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.server import RedisServer
from tests.redis_topologies import ClusterNode, SentinelServer

Run = Callable[..., "subprocess.CompletedProcess[str]"]
REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "hunter2"


def refuse_odd(event: QueueEvent[dict[str, int]]) -> None:
    if event.payload["n"] % 2:
        raise ValueError(f"no {event.payload['n']}")


def fill(queue: Any) -> None:
    queue.publish_many([{"n": number} for number in range(6)])


@pytest.fixture
def filled(root: Path) -> Path:
    """A root with six events and nobody who handles them."""
    with FileEventQueue(root, payload_type=dict) as queue:
        fill(queue)
    return root


def files(directory: Path) -> dict[str, bytes]:
    """Return all that is in a directory; SQLite's shared memory is no part of what is kept."""
    found = sorted(each for each in directory.rglob("*") if each.is_file() and not each.name.endswith("-shm"))
    return {str(each.relative_to(directory)): each.read_bytes() for each in found}


class Findings:
    """What the command has found, as JSON."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.stderr == ""
        self.code, self.text = done.returncode, done.stdout
        self.all: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]

    def not_well(self) -> list[tuple[str, str]]:
        """Return levels and checks of what is not well but for what the machine's own disk is blamed for."""
        own = ("kind", "space", "fsync")
        return [
            (each["level"], each["check"]) for each in self.all if each["level"] != "ok" and each["check"] not in own
        ]

    def of(self, check: str, level: str | None = None) -> dict[str, Any]:
        return next(each for each in self.all if each["check"] == check and level in (None, each["level"]))


@pytest.fixture
def look(run_cli: Run) -> Callable[..., Findings]:
    """Run the command and return its findings."""
    return lambda *arguments, **env: Findings(run_cli("doctor", *arguments, "--json", **env))


Look = Callable[..., Findings]


# -- the file system and the files -------------------------------------------------------------------------------


def test_a_healthy_queue_is_well_and_is_left_as_it_was(look: Look, filled: Path) -> None:
    """Exit code 0, and not a byte of the directory is another one."""
    before = files(filled)
    found = look(filled)
    assert (found.code, found.not_well()) == (0, [])
    assert files(filled) == before
    checks = {(each["part"], each["check"]) for each in found.all}
    assert checks >= {("file system", each) for each in ("directory", "kind", "space", "locks", "fsync")}
    assert checks >= {("queue", each) for each in ("events", "gaps", "groups")}


def test_a_person_reads_a_line_a_finding_and_how_many_there_are(run_cli: Run, filled: Path) -> None:
    """The level comes first, and the directory may come from the environment."""
    done = run_cli("doctor", EVENTY_ROOT_DIR=str(filled))
    first, *_, last = done.stdout.splitlines()
    assert first == f"ok       file system, directory: '{filled}' is there"
    assert "ok       file system, locks: they exclude, between descriptors and between processes" in done.stdout
    assert last.startswith("0 errors, ")


def test_a_queue_at_work_is_looked_at_and_left_alone(look: Look, root: Path) -> None:
    """While a worker has it open; what the worker has not written to the file itself counts, too."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(refuse_odd, group="billing", max_attempts=1, from_index=1)
        fill(queue)
        assert queue.wait_until_idle(20)
        before = files(root)
        found = look(root)
        assert files(root) == before
    assert (found.code, found.not_well()) == (0, [("warning", "dead letters")])
    assert "billing has given up 3 events" in found.of("dead letters")["text"]
    assert "requeue billing --all" in found.of("dead letters")["advice"]


def test_a_flipped_byte_is_damage(look: Look, filled: Path) -> None:
    """Exit code 3, which event it was, and what to do; after repair it is a gap, and all is well."""
    (segment,) = (filled / "events").glob("*.log")
    data = bytearray(segment.read_bytes())
    data[30] ^= 0xFF
    segment.write_bytes(data)
    found = look(filled)
    assert (found.code, found.not_well()) == (3, [("error", "events")])
    assert "corrupt record at byte 0" in found.of("events")["text"]
    assert "eventy-sync repair" in found.of("events")["advice"]
    with FileEventQueue(filled) as queue:
        queue.repair()
    found = look(filled)
    assert found.code == 0
    assert found.of("gaps")["text"].startswith("1 event lost for good")


@pytest.mark.parametrize("place", [0, 8192], ids=["no database", "a page"])
def test_a_state_store_that_is_damaged_is_damage(look: Look, root: Path, place: int) -> None:
    """Whether it opens or not."""
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(lambda event: None, group="billing", from_index=1)
        fill(queue)
        assert queue.wait_until_idle(20)
    with (root / "state.db").open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 512)
    found = look(root)
    assert (found.code, found.not_well()) == (3, [("error", "state")])
    assert "events are not" in found.of("state")["advice"]


def test_a_state_store_of_an_earlier_version_is_not_upgraded(look: Look, filled: Path) -> None:
    """It says who will."""
    import sqlite3

    database = sqlite3.connect(filled / "state.db")
    database.execute("PRAGMA user_version = 1")
    database.close()
    before = files(filled)
    found = look(filled)
    assert (found.code, found.not_well()) == (0, [("warning", "state")])
    assert "upgraded when the queue is opened" in found.of("state")["text"]
    assert files(filled) == before


def test_a_paused_group_and_one_that_nobody_works_for_are_warned_of(look: Look, filled: Path) -> None:
    """Each with what to do; the second once its next event has waited for minutes."""
    with FileEventQueue(filled, payload_type=dict) as queue:
        queue.subscribe(lambda event: None, group="billing", from_index=1)
        assert queue.wait_until_idle(20)
        queue.pause_group("billing")
        fill(queue)
    found = look(filled)
    assert (found.code, found.not_well()) == (0, [("warning", "groups")])
    assert "lag 6" in found.of("groups")["text"]
    assert "eventy-sync resume billing" in found.of("groups")["advice"]


def test_a_directory_that_is_not_there_is_not_made(look: Look, tmp_path: Path) -> None:
    """Its nearest parent is tried, and the command says so."""
    found = look(tmp_path / "a" / "orders")
    assert (found.code, found.not_well()) == (0, [])
    assert f"this is about {str(tmp_path)!r}" in found.of("directory")["text"]
    assert found.of("identity")["text"].startswith("there is no queue yet")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_no_queue_is_an_error(look: Look, tmp_path: Path) -> None:
    """And nothing becomes of it."""
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    found = look(tmp_path)
    assert (found.code, found.not_well()) == (1, [("error", "identity")])
    assert "is not a queue" in found.of("identity")["text"]
    assert [each.name for each in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_file_in_the_place_of_the_directory_is_an_error(look: Look, tmp_path: Path) -> None:
    """One line, and no traceback."""
    (tmp_path / "orders").write_bytes(b"x")
    found = look(tmp_path / "orders")
    assert found.code == 1
    assert "is not a directory" in found.of("directory", "error")["text"]


AS_NOBODY = """
import os, sys
import urllib.parse  # pathlib does so when it needs it, and nobody may not read an interpreter in root's home
sys.path.insert(0, sys.argv.pop(1))
from eventy_sync.cli import main
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
main(sys.argv[1:])
"""


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that other users may enter; pytest's own may not be."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_a_read_only_directory_is_read_all_the_same(open_to_all: Path) -> None:
    """It cannot be written to, which is an error; what is in it is looked at."""
    root = open_to_all / "orders"
    with FileEventQueue(root, payload_type=dict) as queue:
        queue.subscribe(refuse_odd, group="billing", max_attempts=1, from_index=1)
        fill(queue)
        assert queue.wait_until_idle(20)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    command = [sys.executable, "-c", AS_NOBODY, str(REPOSITORY), "doctor", str(root), "--json"]
    found = Findings(subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60))
    os.chmod(root, 0o700)
    os.chmod(root / "events", 0o700)
    assert found.code == 1
    assert ("error", "writing") in found.not_well()
    assert ("error", "permissions") in found.not_well()
    assert "Permission denied" in found.of("writing")["text"]
    assert found.of("events")["level"] == "ok"
    assert "given up 3 events" in found.of("dead letters")["text"]


# -- the server --------------------------------------------------------------------------------------------------


def joined(root: Path, url: str, **fields: Any) -> RedisFileEventQueue[Any]:
    return RedisFileEventQueue(root, name="orders", payload_type=dict, redis_url=url, **fields)


def keys(server: RedisServer) -> dict[bytes, bytes]:
    return {key: server.command("DUMP", key) for key in server.command("KEYS", "*")}


def test_a_healthy_queue_on_a_server_is_well_and_is_left_as_it_was(look: Look, server: RedisServer, root: Path) -> None:
    """Nothing is joined and no key is another one."""
    with joined(root, server.url) as queue:
        fill(queue)
    before = files(root), keys(server)
    found = look(root, "--redis", server.url)
    assert (found.code, found.not_well()) == (0, [])
    assert (files(root), keys(server)) == before
    assert {each["check"] for each in found.all if each["part"] == "server"} == {
        "connection", "version", "eviction", "permissions", "latency", "clock"
    }  # fmt: skip
    assert found.of("queue")["text"] == "'orders': the last event is 6"


@pytest.fixture(params=["unix", "sentinel", "cluster"])
def another_url(request: pytest.FixtureRequest, server: RedisServer, wait_until: Callable[..., None]) -> Iterator[str]:
    """Another way to a server."""
    if request.param == "unix":
        yield server.unix_url
    elif request.param == "sentinel":
        with SentinelServer(server) as sentinel:
            yield sentinel.service_url
    else:
        with ClusterNode() as node:
            node.take_all_slots()
            wait_until(lambda: node.is_ready)
            yield node.cluster_url


def test_a_server_is_looked_at_whichever_way_leads_to_it(look: Look, root: Path, another_url: str) -> None:
    """A unix socket, sentinels, a cluster."""
    with joined(root, another_url) as queue:
        fill(queue)
    found = look(root, "--redis", another_url)
    assert (found.code, found.not_well()) == (0, [])
    assert found.of("queue")["text"] == "'orders': the last event is 6"


def test_a_replica_is_an_error(look: Look, server: RedisServer) -> None:
    """It refuses what a queue writes; so what is permitted cannot be told."""
    with RedisServer() as replica:
        replica.command("REPLICAOF", "127.0.0.1", server.port)
        found = look("--redis", replica.url)
    assert found.code == 1
    assert ("error", "role") in found.not_well()


def test_a_user_who_lacks_a_permission_is_told_of_it(look: Look, server: RedisServer) -> None:
    """With the words that mend it; one who may not ask for INFO is only warned."""
    for without, expected in (("xadd", ("error", "permissions")), ("info", ("warning", "version"))):
        rules = ["on", f">{SECRET}", "~eventy:*", "resetchannels", "&eventy:*", "+@all", f"-{without}"]
        server.command("ACL", "SETUSER", "orders", "reset", *rules)
        found = look("--redis", server.url.replace("//", f"//orders:{SECRET}@"))
        assert expected in found.not_well()
        assert f"+{without}" in found.of(expected[1])["advice"]
        assert SECRET not in found.text


def test_a_server_alone_is_looked_at(look: Look, server: RedisServer) -> None:
    """Before there is any queue; nothing is left there."""
    found = look("--redis", server.url)
    assert (found.code, found.not_well()) == (0, [])
    assert keys(server) == {}


def test_a_queue_that_redis_coordinates_wants_its_server_named(look: Look, server: RedisServer, root: Path) -> None:
    """Else half of what there is to look at would be passed over without a word."""
    with joined(root, server.url):
        pass
    found = look(root)
    assert (found.code, found.not_well()) == (0, [("warning", "connection")])


@pytest.mark.parametrize(("limit", "level", "code"), [("100mb", "error", 1), ("0", "warning", 0)])
def test_a_server_that_evicts_is_told_of(look: Look, limit: str, level: str, code: int) -> None:
    """An error where it does it already, a warning where it has no limit yet."""
    with RedisServer(maxmemory=limit, **{"maxmemory-policy": "allkeys-lru"}) as server:
        found = look("--redis", server.url)
    assert (found.code, found.not_well()) == (code, [(level, "eviction")])
    assert "allkeys-lru" in found.of("eviction")["text"]
    assert "noeviction" in found.of("eviction")["advice"]


def test_no_server_is_an_error(look: Look, server: RedisServer, filled: Path) -> None:
    """The files are looked at all the same."""
    server.stop()
    found = look(filled, "--redis", server.url)
    assert (found.code, found.not_well()) == (1, [("error", "connection")])
    assert "cannot be had" in found.of("connection")["text"]
    assert found.of("events")["level"] == "ok"


def test_a_server_without_encryption_is_asked_about(look: Look, server: RedisServer) -> None:
    """It waits for the end of a line where the handshake waits for an answer."""
    found = look("--redis", server.url.replace("redis://", "rediss://"))
    assert (found.code, found.not_well()) == (1, [("error", "connection")])
    assert "redis://" in found.of("connection")["advice"]
    server.stop()
    assert "TLS" not in look("--redis", server.url).of("connection")["advice"]


def test_a_server_that_hangs_is_an_error_in_a_bounded_time(look: Look, server: RedisServer) -> None:
    """It is not waited for."""
    server.freeze()
    found = look("--redis", server.url)
    server.thaw()
    assert (found.code, found.not_well()) == (1, [("error", "connection")])


@pytest.mark.parametrize("given", ["url", "environment"])
def test_a_wrong_password_is_said_and_not_shown(run_cli: Run, given: str) -> None:
    """Neither as JSON nor to a person."""
    with RedisServer(requirepass="right") as server:
        url = server.url.replace("//", f"//:{SECRET}@") if given == "url" else server.url
        env = {"EVENTY_REDIS_PASSWORD": SECRET} if given == "environment" else {}
        for arguments in ([], ["--json"]):
            done = run_cli("doctor", "--redis", url, *arguments, **env)
            assert done.returncode == 1
            assert "password is wrong" in done.stdout
            assert SECRET not in done.stdout + done.stderr
        right = run_cli("doctor", "--redis", server.url, EVENTY_REDIS_PASSWORD="right")
        assert right.returncode == 0
        assert "redis://:***@127.0.0.1" in right.stdout
        assert ":right" not in right.stdout


def test_a_url_that_cannot_be_one_is_an_error_without_its_password(look: Look) -> None:
    """One line that says what it must begin with."""
    found = look("--redis", f"http://:{SECRET}@localhost")
    assert (found.code, found.not_well()) == (1, [("error", "address")])
    assert SECRET not in found.text


def test_another_queue_of_this_name_is_an_error(look: Look, server: RedisServer, root: Path, tmp_path: Path) -> None:
    """Seen before anybody opens it."""
    with joined(root, server.url) as queue:
        fill(queue)
    with FileEventQueue(tmp_path / "other" / "orders", payload_type=dict) as other:
        fill(other)
    found = look(tmp_path / "other" / "orders", "--redis", server.url)
    assert (found.code, found.not_well()) == (1, [("error", "queue")])
    assert "another queue" in found.of("queue")["text"]


def test_a_root_that_is_behind_and_one_that_is_awaited_are_told_of(
    look: Look, server: RedisServer, root: Path, tmp_path: Path
) -> None:
    """With the commands that mend it."""
    with joined(tmp_path / "b", server.url):
        pass
    with joined(root, server.url) as queue:
        fill(queue)
        root_id = str(queue.health()["root_id"])
    server.command("SADD", "eventy:orders:awaiting", root_id)
    found = look(tmp_path / "b", "--redis", server.url)
    assert (found.code, found.not_well()) == (1, [("warning", "queue"), ("error", "awaited roots")])
    assert "6 behind" in found.of("queue")["text"]
    assert f"forget-root {root_id}" in found.of("awaited roots")["advice"]


def test_it_wants_to_know_what_to_look_at(run_cli: Run) -> None:
    """A directory, a server, or both."""
    done = run_cli("doctor")
    assert done.returncode == 2
    assert "say what to look at" in done.stderr
