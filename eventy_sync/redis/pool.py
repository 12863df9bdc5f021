"""Pools of connections to the server, wherever it is at the moment.

Their connections never retry, wait for a bounded time, speak RESP2 and return bytes.  With Sentinel or Cluster
a *finder* is asked for the address each time that a connection is opened, so a new connection follows the
server; one over which we hear that the server is another one by now is closed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import redis
import redis.cluster
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_SECONDS = 2.0
"""For a connection and for a reply: so long one call may take when the server hangs."""

ELSEWHERE = (redis.exceptions.MovedError, redis.exceptions.ReadOnlyError, redis.exceptions.ClusterDownError)
"""Errors that say that the command was not done, and that another server may do it."""

_SAFE = {
    "retry": Retry(NoBackoff(), 0),
    "retry_on_timeout": False,
    "decode_responses": False,
    "health_check_interval": 0,
    "protocol": 2,
}
_parser = getattr(redis.cluster, "ClusterParser", None)  # up to redis-py 5 only this one knows MOVED from other errors
_CLUSTER: dict[str, Any] = {} if _parser is None else {"parser_class": _parser}
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_LEFT_AWAY = {
    # retries of the client's own
    "retry_on_error",
    # of client-side caching and maintenance notifications, which need RESP3
    "cache",
    "cache_config",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "oss_cluster_maint_notifications_handler",
    "maintenance_state",
    "maintenance_notification_hash",
    "orig_host_address",
    "orig_socket_timeout",
    "orig_socket_connect_timeout",
    # belongs to the pool of the client that was passed in
    "connection_pool",
    "event_dispatcher",
    "himport_registry",
}


class Finder(ABC):
    """Says where the server is at the moment.  Thread safe."""

    kind: str
    is_cluster = False

    @abstractmethod
    def find(self) -> tuple[str, int]:
        """Return host and port.

        Raises:
            redis.RedisError: nobody can say.
        """

    @abstractmethod
    def display(self) -> str:
        """Return who is asked, without secrets."""

    def serve(self, key: str) -> None:  # noqa: B027 - only a cluster has several servers
        """From now on find the server that has this key."""

    def close(self) -> None:  # noqa: B027 - most keep nothing open
        """Close what is kept open; it opens again when it is needed."""


class ServerPool(redis.ConnectionPool):
    """A pool of connections, made of a connection class of redis-py and its options."""

    def __init__(self, connection_class: type[Any], options: Mapping[str, Any], finder: Finder | None = None) -> None:
        kept = {name: value for name, value in options.items() if name not in _LEFT_AWAY}
        for name in _TIMEOUTS:
            if kept.get(name) is None:
                kept[name] = TIMEOUT_SECONDS
        if finder is not None and finder.is_cluster:
            kept |= _CLUSTER
        self._plain_class, self._options, self.finder = connection_class, {**kept, **_SAFE}, finder
        if finder is None:
            super().__init__(connection_class=connection_class, **self._options)
        else:
            super().__init__(connection_class=_following(connection_class), finder=finder, **self._options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.display()}>"

    @property
    def database(self) -> int:
        """The number of the database that the connections select."""
        return int(self._options.get("db") or 0)

    @property
    def is_cluster(self) -> bool:
        """Whether the keys of a queue must share a slot."""
        return self.finder is not None and self.finder.is_cluster

    @property
    def is_encrypted(self) -> bool:
        """Whether the connections speak TLS."""
        return issubclass(self._plain_class, redis.SSLConnection)

    def serve(self, key: str) -> None:
        """Connect to the server that has this key, if there are several."""
        if self.finder is not None:
            self.finder.serve(key)

    def twin(self, **options: Any) -> ServerPool:
        """Return another pool like this one, with these options in place of its own."""
        return ServerPool(self._plain_class, {**self._options, **options}, self.finder)

    def make(self) -> Any:
        """Return a connection that is not open yet, and not the pool's."""
        return self.connection_class(**self.connection_kwargs)

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close all connections; they open again when they are needed."""
        super().disconnect(inuse_connections)
        if self.finder is not None:
            self.finder.close()

    def display(self) -> str:
        """Return where the server is, as a person may see it: never a password."""
        known = self._options
        secret = ":***@" if known.get("password") or known.get("credential_provider") else ""
        if "path" in known:
            return f"unix://{secret}{known['path']}?db={self.database}"
        scheme = "rediss" if self.is_encrypted else "redis"
        if self.finder is not None:
            return f"{scheme}+{self.finder.kind}://{secret}{self.finder.display()}/{self.database}"
        host = str(known.get("host", "localhost"))
        return f"{scheme}://{secret}{display_address(host, known.get('port', 6379))}/{self.database}"


def display_address(host: str, port: object) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Following:
    """What a connection class gets in addition, to follow the server."""

    host: str
    port: int

    def __init__(self, *, finder: Finder, **options: Any) -> None:
        self._finder = finder
        super().__init__(**options)

    def _connect(self) -> Any:  # the step of redis-py that opens the socket, in all its versions
        self.host, self.port = self._finder.find()
        return super()._connect()  # type: ignore[misc]

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]
        except ELSEWHERE:
            self.disconnect()  # type: ignore[attr-defined]
            raise


_following_classes: dict[type[Any], type[Any]] = {}


def _following(connection_class: type[Any]) -> type[Any]:
    """Return a subclass whose connections follow the server."""
    made = _following_classes.get(connection_class)
    if made is None:
        made = type(f"Following{connection_class.__name__}", (_Following, connection_class), {})
        _following_classes[connection_class] = made
    return made
