"""Where Redis is and how we talk to it: one connection pool from a URL, or from a client passed in."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventy_sync.errors import RedisConfigurationError

TIMEOUT_SECONDS = 2.0
"""For a connection and for a reply: so long one call may take when the server hangs."""

_SCHEMES = ("redis", "rediss", "unix")
_SAFE = {
    "retry": Retry(NoBackoff(), 0),
    "retry_on_timeout": False,
    "decode_responses": False,
    "health_check_interval": 0,
}


def make_pool(url: str, database: int, password: str | None) -> redis.ConnectionPool:
    """Return a pool whose connections never retry, never wait longer than `TIMEOUT_SECONDS`, and return bytes.

    Raises:
        RedisConfigurationError: the URL cannot be used.
    """
    try:
        _check_url(url)
        options: dict[str, Any] = {
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            "protocol": 2,
            **_SAFE,
        }
        pool = _checked(redis.ConnectionPool.from_url(url, **options))
    except (ValueError, TypeError) as exc:
        raise RedisConfigurationError(f"redis_url cannot be used: {exc}") from None
    if database:
        pool.connection_kwargs["db"] = database
    if password is not None:
        pool.connection_kwargs["password"] = password
    return pool


def _check_url(url: str) -> None:
    """Raise ValueError for what is no address of a server; never with a part of it, which may be of the password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "it is malformed; percent-encode what is special in a password, and give the port as a number"
        ) from None
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"it must begin with {', '.join(f'{each}://' for each in _SCHEMES)}")
    path = parts.path.strip("/")
    for number in parse_qs(parts.query).get("db", []) + ([path] if path and parts.scheme != "unix" else []):
        if not number.isdigit():
            raise ValueError("what follows the server, or db=, is no database number")


def _checked(pool: redis.ConnectionPool) -> redis.ConnectionPool:
    """Return the pool if connections can be made with its options.

    Raises:
        TypeError: there is no such option.
    """
    pool.connection_class(**pool.connection_kwargs)  # it does not connect yet
    return pool


def pool_of(client: Any) -> redis.ConnectionPool:
    """Return a pool like that of a client passed in, but one that never retries and returns bytes.

    Raises:
        RedisConfigurationError: the client cannot make connections.
    """
    given = client.connection_pool
    try:
        options = {**given.connection_kwargs, **_SAFE}
        return _checked(redis.ConnectionPool(connection_class=given.connection_class, **options))
    except TypeError as exc:
        raise RedisConfigurationError(f"redis_client cannot be used: {exc}") from None


def database_of(pool: redis.ConnectionPool) -> int:
    """Return the number of the database that a pool's connections select."""
    return int(pool.connection_kwargs.get("db") or 0)


def display(pool: redis.ConnectionPool) -> str:
    """Return where Redis is, as a person may see it: never a password."""
    known = pool.connection_kwargs
    if "path" in known:
        return f"unix://{known['path']}?db={database_of(pool)}"
    scheme = "rediss" if "ssl" in getattr(pool.connection_class, "__name__", "").lower() else "redis"
    secret = ":***@" if known.get("password") else ""
    return f"{scheme}://{secret}{known.get('host', 'localhost')}:{known.get('port', 6379)}/{database_of(pool)}"
