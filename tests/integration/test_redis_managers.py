"""The queue manager that the environment describes, with Redis: several processes, a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventy_sync.redis.server import RedisServer

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "hunter2"
PUBLISH = """
from eventy_sync import get_default_queue_manager
manager = get_default_queue_manager()
manager.register(dict)
with manager:
    queue = manager.get_event_queue(dict)
    print(queue.publish({}).id, queue.health()["mode"])
"""


def run(root: Path, server: RedisServer, source: str = PUBLISH, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("EVENTY_")}
    variables |= {"EVENTY_ROOT_DIR": str(root), "EVENTY_REDIS_URL": server.url, "PYTHONPATH": str(REPOSITORY), **more}
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=variables, timeout=60)


def test_processes_with_the_same_server_share_their_queues(tmp_path: Path, server: RedisServer) -> None:
    """Each in a directory of its own; ids are given out in common, for each prefix."""
    assert [run(tmp_path / host, server).stdout for host in "ab"] == ["1 connected\n", "2 connected\n"]
    assert run(tmp_path / "c", server, EVENTY_REDIS_PREFIX="other").stdout == "1 connected\n"
    assert server.command("EXISTS", "eventy:dict:journal", "other:dict:journal") == 2


def test_the_password_comes_from_the_environment_or_the_url(tmp_path: Path) -> None:
    """An empty variable does not take the URL's away; a wrong one is not shown."""
    with RedisServer(requirepass=SECRET) as server:
        url = server.url.replace("//", f"//:{SECRET}@")
        assert run(tmp_path / "a", server, EVENTY_REDIS_PASSWORD=SECRET).stdout == "1 connected\n"
        done = run(tmp_path / "a", server, EVENTY_REDIS_URL=url, EVENTY_REDIS_PASSWORD="")
        assert done.stdout == "2 connected\n"
        wrong = run(tmp_path / "a", server, EVENTY_REDIS_PASSWORD="wrong-secret")
        assert "RedisConfigurationError" in wrong.stderr.splitlines()[-1]
        assert "wrong-secret" not in wrong.stderr


def test_a_directory_that_has_joined_needs_the_url(tmp_path: Path, server: RedisServer) -> None:
    """A process whose environment lacks it publishes nothing, and says what is missing."""
    run(tmp_path / "a", server)
    last = run(tmp_path / "a", server, EVENTY_REDIS_URL="").stderr.splitlines()[-1]
    assert last.startswith("eventy_sync.errors.CoordinationError: the event was not published: ")
    assert "EVENTY_REDIS_URL" in last


@pytest.mark.parametrize("url", [f"http://u:{SECRET}@h", f"redis://:{SECRET}@h/zero"])
def test_a_url_that_will_not_do_is_refused(tmp_path: Path, server: RedisServer, url: str) -> None:
    """When a queue is registered; nothing is made, and its password is not shown."""
    done = run(tmp_path / "a", server, EVENTY_REDIS_URL=url)
    assert done.stderr.splitlines()[-1].startswith("eventy_sync.errors.RedisConfigurationError: redis_url cannot be")
    assert SECRET not in done.stderr
    assert not (tmp_path / "a").exists()


def test_without_redis_py_the_error_says_what_to_install(tmp_path: Path, server: RedisServer) -> None:
    """And which variable asked for it."""
    done = run(tmp_path / "a", server, "import sys; sys.modules['redis'] = None\n" + PUBLISH)
    last = done.stderr.splitlines()[-1]
    assert last == (
        "eventy_sync.errors.InvalidArgumentError: EVENTY_REDIS_URL is set, but eventy_sync.redis needs redis-py: "
        'pip install "eventy-sync[redis]"'
    )
