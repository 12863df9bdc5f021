"""The commands of a queue that Redis coordinates: a real server, real processes, and what a person sees."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import FileEventQueue
from eventy_sync.file.identity import read_identity
from eventy_sync.redis import RedisFileEventQueue
from eventy_sync.redis.server import RedisServer

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
Wait = Callable[..., None]
REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "hunter2"
PAIR = ("a", "b")


@pytest.fixture
def cli(run_cli: Run, server: RedisServer) -> Run:
    """Run a command with the server in its environment."""

    def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        return run_cli(*arguments, **{"EVENTY_REDIS_URL": server.url, **options})

    return run


@pytest.fixture
def pair(cli: Run, tmp_path: Path) -> tuple[str, str]:
    """Two roots of the queue "orders" that know each other, with an event each; return their ids."""
    for name in PAIR:
        assert cli("publish", "-d", name, "--name", "orders", f'{{"by": "{name}"}}').returncode == 0
    assert cli("info", "-d", "a").returncode == 0  # so that it has heard of the other
    a, b = (str(read_identity(tmp_path / name).root_id) for name in PAIR)
    return a, b


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    return done.stderr + done.stdout


def open_queue(tmp_path: Path, server: RedisServer, root: str) -> RedisFileEventQueue[Any]:
    return RedisFileEventQueue(tmp_path / root, name="orders", payload_type=dict, redis_url=server.url)


@pytest.mark.usefixtures("pair")
def test_events_of_all_roots_are_numbered_in_common_and_shown(cli: Run) -> None:
    """Publishing, tail, events; a directory that has joined is known by its name from then on."""
    assert lines(cli("publish", "-d", "a", stdin="[3]\n[4]\n")) == ["published 2 events, the last is 4"]
    for command in (("tail", "-d", "b", "--from", 2), ("events", "-d", "b")):
        shown = [json.loads(line)["id"] for line in lines(cli(*command, "--json"))]
        assert shown == [2, 3, 4]
    assert json.loads(cli("info", "-d", "b", "--json").stdout)["name"] == "orders"


@pytest.mark.usefixtures("pair")
def test_tail_follows_what_other_hosts_publish(cli: Run, start_cli: Start, server: RedisServer) -> None:
    """Though no other process of its own root has Redis."""
    tail = start_cli("tail", "-d", "b", "--redis-url", server.url, "--follow", "--json")
    assert tail.stdout is not None
    assert json.loads(tail.stdout.readline())["id"] == 2
    assert cli("publish", "-d", "a", "{}").stdout == "published event 3\n"
    assert json.loads(tail.stdout.readline())["id"] == 3
    tail.send_signal(signal.SIGINT)
    assert tail.communicate(timeout=20) == ("", "")
    assert tail.returncode == 0


def test_claims_of_another_host_are_shown(cli: Run, tmp_path: Path, server: RedisServer) -> None:
    """Those of this root are listed, with whoever holds them."""
    with open_queue(tmp_path, server, "a") as queue:
        queue.create_claim("nightly", {"k": 1})
        (claim,) = lines(cli("claims", "-d", "a", "--json"))
    assert json.loads(claim)["worker_id"] == str(queue.worker_id)


def test_info_shows_mode_address_and_roots(cli: Run, pair: tuple[str, str], server: RedisServer) -> None:
    """For a person and for a program; the other root with what it lacks."""
    cli("publish", "-d", "a", "{}")
    text = cli("info", "-d", "a").stdout
    assert "mode             connected\n" in text
    assert f"address          {server.url}/0\n" in text
    assert f"other root   {pair[1]}  " in text
    assert "tail 2, 1 behind  closed, " in text
    told = json.loads(cli("info", "-d", "a", "--json").stdout)
    assert (told["events_behind"], told["journal_length"], told["workers"], told["roots"]) == (0, 3, 0, 2)
    assert [(each["root_id"], each["behind"]) for each in told["known_roots"]] == [(pair[1], 1)]
    server.kill()
    done = cli("info", "-d", "a", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["mode"], told["workers"], len(told["known_roots"])) == (0, "degraded", None, 1)
    assert "refused" in told["reason"]


@pytest.mark.usefixtures("pair")
def test_health_is_for_probes(cli: Run, server: RedisServer) -> None:
    """Exit code and one line; JSON has the same, whatever is wrong."""
    assert lines(cli("health", "-d", "a")) == [f"healthy: connected to {server.url}/0, the last event is 2"]
    assert json.loads(cli("health", "-d", "a", "--json").stdout)["healthy"] is True
    server.kill()
    assert refused(cli("health", "-d", "a")).startswith("unhealthy: degraded, the last event is 2: ")
    told = json.loads(refused(cli("health", "-d", "a", "--json")))
    assert (told["healthy"], told["mode"]) == (False, "degraded")
    told = json.loads(refused(cli("health", "-d", "nowhere", "--json")))
    assert (told["healthy"], told["mode"]) == (False, None)
    assert "is not a queue" in told["reason"]


def test_health_says_when_publishing_waits_for_another_root(
    cli: Run, pair: tuple[str, str], tmp_path: Path, server: RedisServer
) -> None:
    """Redis is there, but has lost what a root that never said goodbye knows."""
    with open_queue(tmp_path, server, "b") as queue:
        queue.publish({})
        assert cli("info", "-d", "a").returncode == 0
        server.kill()
    server.start()
    text = refused(cli("health", "-d", "a"))
    assert text.startswith("unhealthy: connected, the last event is 3: Redis has lost something, and publishing waits")
    assert json.loads(refused(cli("health", "-d", "a", "--json")))["awaited_roots"] == 1
    assert cli("forget-root", "-d", "a", pair[1], "--yes").returncode == 0
    assert lines(cli("health", "-d", "a"))[0].startswith("healthy: connected")


@pytest.mark.usefixtures("pair")
def test_health_answers_in_time_when_the_server_hangs(cli: Run, server: RedisServer) -> None:
    """A server that accepts and says nothing must not hang the probe, too."""
    server.freeze()
    started = time.monotonic()
    assert "unhealthy: degraded" in refused(cli("health", "-d", "a"))
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("pair")
def test_health_without_an_address(cli: Run, tmp_path: Path) -> None:
    """A queue of files alone is healthy; a root that has joined others is not, if nobody says where Redis is."""
    with FileEventQueue[Any](tmp_path / "alone") as queue:
        queue.publish(1)
    assert lines(cli("health", "-d", "alone", EVENTY_REDIS_URL="")) == ["healthy: file, the last event is 1"]
    assert "--redis-url" in refused(cli("health", "-d", "a", EVENTY_REDIS_URL=""))


@pytest.mark.usefixtures("pair")
def test_workers_are_listed(cli: Run, tmp_path: Path, server: RedisServer) -> None:
    """All but the command itself; what other hosts say of themselves cannot speak to the terminal."""
    assert lines(cli("workers", "-d", "a")) == ["nobody else has the queue open"]
    with open_queue(tmp_path, server, "b") as queue:
        (line,) = lines(cli("workers", "-d", "a"))
        assert line.startswith(f"{queue.worker_id}  ")
        assert f"  pid {os.getpid()}  root {read_identity(tmp_path / 'b').root_id}  " in line
        bad = b'{"pid":1,"root_id":"r","seen_at":0,"host":"\\u001b[31m"}'
        server.command("HSET", "eventy:orders:workers", "w", bad)
        told = {each["pid"]: each for each in map(json.loads, lines(cli("workers", "-d", "a", "--json")))}
        assert told.keys() == {os.getpid()}  # nobody had heard of the other for years
        server.command("HSET", "eventy:orders:workers", "w", bad.replace(b'seen_at":0', b'seen_at":1e18'))
        assert all(line.isprintable() for line in lines(cli("workers", "-d", "a")))


def test_a_new_directory_gets_the_whole_queue(
    cli: Run, pair: tuple[str, str], tmp_path: Path, server: RedisServer
) -> None:
    """From the journal, or from a worker of another root; and says so when nothing is missing."""
    assert lines(cli("resync", "-d", "c", "--name", "orders")) == ["2 events came, the last of 'orders' is 2"]
    assert lines(cli("resync", "-d", "c")) == ["nothing was missing: the last event of 'orders' is 2"]
    with open_queue(tmp_path, server, "c") as queue:
        queue.publish_many([{"n": number} for number in range(3000)])
        queue.subscribe(lambda event: None)
        assert server.command("XTRIM", "eventy:orders:journal", "MAXLEN", 10) > 0
        assert lines(cli("resync", "-d", "d", "--name", "orders")) == ["3002 events came, the last of 'orders' is 3002"]
    assert (tmp_path / "c" / "events").is_dir()
    logs = [b"".join(path.read_bytes() for path in sorted((tmp_path / each).glob("events/*.log"))) for each in "cd"]
    assert logs[0] == logs[1]


@pytest.mark.usefixtures("pair")
def test_what_no_root_has_is_reported_as_lost(cli: Run, tmp_path: Path, server: RedisServer) -> None:
    """How many came, and how many did not."""
    with open_queue(tmp_path, server, "b") as queue:
        queue.publish_many([{"n": number} for number in range(300)])
    server.command("XTRIM", "eventy:orders:journal", "MAXLEN", 10)
    source = (
        "import sys; from eventy_sync.redis.resync import Resync; Resync.ask = lambda *_: False\n"
        "from eventy_sync.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, "resync", "-d", str(tmp_path / "a"), "--redis-url", server.url],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=60,
    )
    assert "events came, the last of 'orders' is 302; " in done.stdout
    assert done.stdout.endswith(" are lost: no root had them\n")
    came, lost = (int(part.split()[0]) for part in done.stdout.split("; "))
    assert came + lost in (300, 301)  # the last one of b may have been here already


@pytest.mark.usefixtures("pair")
def test_a_resync_that_cannot_be_had_fails(cli: Run, server: RedisServer) -> None:
    """With the reason; it must not look as if all were here."""
    server.kill()
    assert refused(cli("resync", "-d", "a")).startswith("Error: not caught up: degraded: ")


def test_a_root_is_forgotten_when_that_is_confirmed(cli: Run, pair: tuple[str, str]) -> None:
    """An unknown one is refused with those that are known."""
    assert f"known: {pair[1]} on " in refused(cli("forget-root", "-d", "a", "nobody"))
    asked = cli("forget-root", "-d", "a", pair[1], stdin="n\n")
    assert (asked.returncode, "Forget it?" in asked.stdout, "tail 2, seen " in asked.stdout) == (1, True, True)
    assert f"other root   {pair[1]}" in cli("info", "-d", "a").stdout
    assert lines(cli("forget-root", "-d", "a", pair[1], stdin="y\n"))[-1].endswith(f"forgotten: {pair[1]}")
    assert json.loads(cli("info", "-d", "a", "--json").stdout)["known_roots"] == []
    assert "none is" in refused(cli("forget-root", "-d", "a", pair[1], "--yes"))


def test_a_root_is_forgotten_without_redis(cli: Run, pair: tuple[str, str], server: RedisServer) -> None:
    """The refusal names the command; after it this root goes on alone; Redis is told later."""
    server.kill()
    text = refused(cli("publish", "-d", "a", "{}"))
    assert "Error: the event was not published: degraded since" in text
    assert "forget them: eventy-sync forget-root" in text
    done = lines(cli("forget-root", "-d", "a", pair[1], "--yes"))
    assert done[0] == f"forgotten: {pair[1]}"
    assert done[1].startswith("Redis is not told yet, it is degraded (")
    assert cli("publish", "-d", "a", "{}").stdout == "published event 3\n"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"http://u:{SECRET}@localhost", "must begin with redis://, rediss://, unix://"),
        (f"redis://:{SECRET}@localhost/zero", "the database number must be a number"),
        (f"redis://:{SECRET}@127.0.0.1:{{port}}", "password"),
        ("redis://127.0.0.1:{port}/99", "there is no such database"),
    ],
)
@pytest.mark.usefixtures("pair")
def test_a_url_that_will_not_do_is_one_line(run_cli: Run, server: RedisServer, url: str, says: str) -> None:
    """What is wrong with it, and never its password."""
    for command in (["publish", "-d", "a", "1"], ["info", "-d", "a"], ["health", "-d", "a"]):
        text = refused(run_cli(*command, "--redis-url", url.format(port=server.port)))
        if command[0] == "publish":
            assert text.startswith("Error: ")
            assert len(text.splitlines()) == 1
            assert says in text
        assert SECRET not in text


def test_a_password_comes_from_the_environment(run_cli: Run, tmp_path: Path) -> None:
    """Right, wrong and none; it is not shown, and there is no option for it."""
    with RedisServer(requirepass=SECRET) as server:
        environment = {"EVENTY_REDIS_URL": server.url, "EVENTY_REDIS_PASSWORD": SECRET}
        assert lines(run_cli("publish", "-d", "a", "1", **environment)) == ["published event 1"]
        shown = run_cli("info", "-d", "a", **environment).stdout
        assert f"redis://:***@127.0.0.1:{server.port}/0" in shown
        assert SECRET not in shown
        wrong = refused(run_cli("publish", "-d", "a", "1", **{**environment, "EVENTY_REDIS_PASSWORD": "other-secret"}))
        assert "password is wrong" in wrong
        assert "other-secret" not in wrong
        assert "wants a password" in refused(run_cli("publish", "-d", "a", "1", EVENTY_REDIS_URL=server.url))
    assert "--redis-password" not in run_cli("publish", "-h").stdout


def test_without_redis_py_the_error_says_what_to_install(run_cli: Run, tmp_path: Path) -> None:
    """In every command; without a URL nothing is missing."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "redis.py").write_text("raise ImportError('not there')\n")
    path = f"{stub}{os.pathsep}{REPOSITORY}"
    text = refused(run_cli("publish", "-d", "a", "1", "--redis-url", "redis://localhost", PYTHONPATH=path))
    assert text == (
        'Error: a Redis URL is given, but eventy_sync.redis needs redis-py: pip install "eventy-sync[redis]"\n'
    )
    assert lines(run_cli("publish", "-d", "a", "1", PYTHONPATH=path)) == ["published event 1"]


@pytest.mark.usefixtures("pair")
def test_commands_that_need_redis_say_where_to_name_it(cli: Run) -> None:
    """Wrong usage: exit code 2."""
    for command in (["workers", "-d", "a"], ["resync", "-d", "a"], ["forget-root", "-d", "a", "x"]):
        done = cli(*command, EVENTY_REDIS_URL="")
        assert done.returncode == 2
        assert "--redis-url redis://host:6379, or EVENTY_REDIS_URL" in done.stderr


@pytest.mark.usefixtures("pair")
def test_a_resync_shows_on_a_terminal_how_far_it_is(tmp_path: Path, server: RedisServer) -> None:
    """And leaves the line clean for what it says at the end."""
    main, other = pty.openpty()
    command = [sys.executable, "-m", "eventy_sync", "resync", "-d", str(tmp_path / "a"), "--redis-url", server.url]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, stdin=other, stdout=subprocess.PIPE, stderr=other, env=environment, timeout=60)
    os.close(other)
    assert done.returncode == 0
    assert os.read(main, 4096).endswith(b"\r\x1b[K")
    os.close(main)


def test_publishing_stops_at_the_first_batch_that_is_refused(
    cli: Run, tmp_path: Path, server: RedisServer, pair: tuple[str, str]
) -> None:
    """It is not tried again, for it may have been published; the error says how many events are."""
    server.kill()
    text = refused(cli("publish", "-d", "a", stdin="1\n2\n"))
    assert "(0 events of earlier lines are published)" in text
    assert len(lines(cli("events", "-d", "a", "--json", EVENTY_REDIS_URL=""))) == 2


def test_a_look_does_not_make_a_root_join(cli: Run, tmp_path: Path, server: RedisServer) -> None:
    """A URL in the environment must not turn a queue of files into one that its own workers cannot publish to."""
    with FileEventQueue[Any](tmp_path / "files") as queue:
        queue.publish(1)
        for command in ("tail", "info", "events", "results", "claims"):
            assert cli(command, "-d", "files").returncode == 0
        for command in (["health"], ["workers"], ["forget-root", "x", "--yes"]):
            assert "has not joined a queue in Redis yet" in refused(cli(*command, "-d", "files"))
        assert read_identity(tmp_path / "files").joined is None
        assert queue.publish(2).id == 2
    assert server.command("DBSIZE") == 0
