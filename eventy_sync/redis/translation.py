"""What Redis' errors mean to us: the one place where they become ours.

Two kinds matter.  Some will pass without anybody's doing: the server is away, loading, full, read-only,
busy.  Some will not: wrong password, permission, database, type of key.
"""

from __future__ import annotations

import re

import redis

from eventy_sync.errors import CoordinationError, RedisConfigurationError

_PASSING = ("LOADING", "READONLY", "OOM", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS")
_LASTING = {
    "WRONGPASS": "the user name or password is wrong: check redis_password and redis_url",
    "NOAUTH": "the server wants a password: give redis_password, or put it into redis_url",
    "NOPERM": "the user may not do this; docs/redis.rst lists the permissions it needs",
    "WRONGTYPE": "a key of this queue holds something else: choose another redis_prefix or name",
    "not an integer": "a key of this queue holds something else: choose another redis_prefix or name",
    "DB index": "there is no such database: check redis_db and redis_url",
    "invalid password": "the password is wrong: check redis_password and redis_url",
    "without any password configured": "the server has no password: leave redis_password away",
}
_CODES = {
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.TryAgainError: "TRYAGAIN",
    redis.exceptions.NoPermissionError: "NOPERM",
}
"""redis-py cuts the server's code off the text of those that it has a class for."""
_CREDENTIALS = re.compile(r"(\w+://)[^@/\s]*@")


class RedisUnavailableError(CoordinationError):
    """Redis cannot be had at the moment.  Stays inside this package: queues turn to what they can do without.

    `is_timeout` says that it was waited for already.
    """

    def __init__(self, reason: str, *, is_timeout: bool = False) -> None:
        super().__init__(reason)
        self.is_timeout = is_timeout


def translated(exc: Exception) -> CoordinationError:
    """Return our error for one of redis-py's."""
    text = _CREDENTIALS.sub(r"\1***@", str(exc)) or type(exc).__name__
    code = next((code for known, code in _CODES.items() if isinstance(exc, known)), "")
    if code not in text:
        text = f"{code} {text}"
    for sign, advice in _LASTING.items():
        if sign in text:
            return RedisConfigurationError(f"Redis refuses: {advice} ({text})")
    if isinstance(exc, redis.AuthenticationError):
        return RedisConfigurationError(f"Redis refuses to let us in: check redis_password and redis_url ({text})")
    if isinstance(exc, redis.ResponseError) and not any(sign in text for sign in _PASSING):
        return RedisConfigurationError(f"Redis refuses: {text}")
    return RedisUnavailableError(text, is_timeout=isinstance(exc, (redis.TimeoutError, TimeoutError)))
