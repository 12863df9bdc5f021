"""Which queue a command works on: a directory, and, where Redis coordinates it, how it is reached.

The password is taken from the URL or from EVENTY_REDIS_PASSWORD, never from an option: everybody on the host can
read a command line.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventy_sync.file import AbstractFileEventQueue, FileEventQueue
from eventy_sync.file.identity import IDENTITY_FILE, SharedName, read_identity

if TYPE_CHECKING:
    from eventy_sync.redis import RedisFileEventQueue

F = TypeVar("F", bound=Callable[..., Any])

root_option = click.option(
    "--root-dir",
    "-d",
    required=True,
    envvar="EVENTY_ROOT_DIR",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="The queue's directory.",
)
_redis_options = (
    click.option(
        "--redis-url",
        envvar="EVENTY_REDIS_URL",
        show_envvar=True,
        help="Where Redis is that coordinates the queue; its password may stand in EVENTY_REDIS_PASSWORD.",
    ),
    click.option(
        "--redis-prefix",
        envvar="EVENTY_REDIS_PREFIX",
        show_envvar=True,
        help='The first part of its keys.  [default: what the directory has joined, else "eventy"]',
    ),
    click.option(
        "--name",
        show_envvar=True,
        help="The queue's name in Redis.  [default: what the directory has joined, else the directory's]",
    ),
)


NOT_JOINED = "has not joined a queue in Redis yet: no process that has redis_url has reached the server with it"


@dataclass(frozen=True)
class QueueChoice:
    """What the options of a command say of its queue."""

    root_dir: Path
    redis_url: str | None
    redis_prefix: str | None
    name: str | None

    def any_queue(self, serializer: str = "json", **fields: Any) -> AbstractFileEventQueue[Any]:
        """Return the queue, which need not be there yet."""
        fields["event_serializer"] = serializer
        if self.redis_url:
            return self.redis_queue(**fields)
        joined = self._joined()
        return FileEventQueue(self.root_dir, name=self.name or (joined.name if joined else None), **fields)

    def existing_queue(self, serializer: str = "json") -> AbstractFileEventQueue[Any]:
        """Return the queue of a directory that is one, for a look must not make a queue.

        Nor must it make a root join others: one that has not is looked at as the files it is, URL or not.
        """
        if read_identity(self.root_dir).joined is None:
            return FileEventQueue(self.root_dir, name=self.name, event_serializer=serializer)
        return self.any_queue(serializer)

    def redis_queue(self, **fields: Any) -> RedisFileEventQueue[Any]:
        """Return the queue as one that Redis coordinates."""
        if not self.redis_url:
            raise click.UsageError("say where Redis is: --redis-url redis://host:6379, or EVENTY_REDIS_URL")
        try:
            from eventy_sync.redis import RedisFileEventQueue
        except ImportError as exc:
            raise click.ClickException(f"a Redis URL is given, but {exc}") from exc
        joined = self._joined()
        return RedisFileEventQueue(
            self.root_dir,
            name=self.name or (joined.name if joined else None),
            redis_url=self.redis_url,
            redis_password=os.environ.get("EVENTY_REDIS_PASSWORD") or None,  # empty: the URL's
            redis_prefix=self.redis_prefix or (joined.prefix if joined else "eventy"),
            **fields,
        )

    def existing_redis_queue(self) -> RedisFileEventQueue[Any]:
        """Return the queue of a directory that has joined others."""
        if read_identity(self.root_dir).joined is None:
            raise click.ClickException(f"{str(self.root_dir)!r} {NOT_JOINED}")
        return self.redis_queue()

    def _joined(self) -> SharedName | None:
        return read_identity(self.root_dir).joined if (self.root_dir / IDENTITY_FILE).exists() else None


def say_the_mode_once() -> None:
    """Leave it to the command to say that Redis is away, unless all is to be logged."""
    logger = logging.getLogger("eventy_sync.redis.mode")
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.ERROR)


def queue_options(function: F) -> F:
    """Add the options that say which queue; the command gets them as `choice`."""

    @functools.wraps(function)
    def command(
        root_dir: Path, redis_url: str | None, redis_prefix: str | None, name: str | None, **others: Any
    ) -> Any:
        return function(choice=QueueChoice(root_dir, redis_url, redis_prefix, name), **others)

    decorated: Any = command
    for option in reversed((root_option, *_redis_options)):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def existing_root(root_dir: Path, **fields: Any) -> FileEventQueue[Any]:
    """Return the queue of a directory for what is done to its files alone, without Redis."""
    read_identity(root_dir)
    return FileEventQueue(root_dir, **fields)
