"""What Redis' errors mean to us: the one place where they become ours.

Two kinds matter.  Some will pass without anybody's doing: the server is away, loading, full, read-only,
busy.  Some will not: wrong password, permission, database, type of key.
"""

from __future__ import annotations

import re

import redis

from eventy_sync.errors import CoordinationError, RedisConfigurationError

_PASSING = (
    "LOADING", "READONLY", "OOM", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "MISCONF",
    "NOREPLICAS",
)  # fmt: skip
_CODES: tuple[tuple[type[redis.RedisError], str], ...] = (  # redis-py takes the code away where it has a class for it
    (redis.exceptions.ReadOnlyError, "READONLY"),
    (redis.exceptions.OutOfMemoryError, "OOM"),
    (redis.exceptions.BusyLoadingError, "LOADING"),
    (redis.exceptions.NoPermissionError, "NOPERM"),
    (redis.exceptions.MasterDownError, "MASTERDOWN"),
    (redis.exceptions.ClusterDownError, "CLUSTERDOWN"),
    (redis.exceptions.TryAgainError, "TRYAGAIN"),
    (redis.exceptions.MovedError, "MOVED"),
    (redis.exceptions.AskError, "ASK"),
    (redis.exceptions.ClusterCrossSlotError, "CROSSSLOT"),
)
_PERMISSIONS = "the user may not do this; docs/redis.rst lists the permissions it needs"
_NO_PASSWORD = "the server wants a password: give redis_password, or put it into redis_url"
_SOMETHING_ELSE = "a key of this queue holds something else: choose another redis_prefix or name, or delete the key"
_LASTING = {
    "WRONGPASS": "the user name or password is wrong: check redis_password and redis_url",
    "NOAUTH": _NO_PASSWORD,
    "invalid username-password": "the user name or password is wrong: check redis_password and redis_url",
    "Authentication required": _NO_PASSWORD,
    "unauthenticated": _NO_PASSWORD,  # thus said of a command with many arguments
    "NOPERM": _PERMISSIONS,
    "o permissions to ": _PERMISSIONS,  # thus said of a command in a script
    "user executing the script can't": _PERMISSIONS,  # thus by Redis 7.0
    "WRONGTYPE": _SOMETHING_ELSE,
    "not an integer": _SOMETHING_ELSE,
    "CROSSSLOT": "this server is a node of a Redis Cluster: take redis+cluster:// for redis_url",
    "cluster support disabled": "this server is not part of a Redis Cluster: take redis:// for redis_url",
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate is not trusted: give ssl_ca_certs= in redis_url",
    "DB index": "there is no such database: check redis_db and redis_url",
    "invalid password": "the password is wrong: check redis_password and redis_url",
    "without any password configured": "the server has no password: leave redis_password away",
}
_CREDENTIALS = re.compile(r"(\w+://)[^@/\s]*@")


class RedisUnavailableError(CoordinationError):
    """Redis cannot be had at the moment.  Stays inside this package: queues turn to what they can do without.

    `is_timeout` says that it was waited for already, `may_have_run` that the command was sent and its reply is lost:
    it may have been served, or be served yet.
    """

    def __init__(self, reason: str, *, is_timeout: bool = False, may_have_run: bool = False) -> None:
        super().__init__(reason)
        self.is_timeout, self.may_have_run = is_timeout, may_have_run


def translated(exc: Exception, *, was_sent: bool = False) -> CoordinationError:
    """Return our error for one of redis-py's."""
    text = _CREDENTIALS.sub(r"\1***@", str(exc)) or type(exc).__name__
    code = next((code for kind, code in _CODES if isinstance(exc, kind)), "")
    if code and code not in text:
        text = f"{code} {text}"
    for sign, advice in _LASTING.items():
        if sign in text:
            return RedisConfigurationError(f"Redis refuses: {advice} ({text})")
    if isinstance(exc, redis.AuthenticationError):
        return RedisConfigurationError(f"Redis refuses to let us in: check redis_password and redis_url ({text})")
    if isinstance(exc, redis.ResponseError) and not any(sign in text for sign in _PASSING):
        return RedisConfigurationError(f"Redis refuses: {text}")
    return RedisUnavailableError(
        text,
        is_timeout=isinstance(exc, (redis.TimeoutError, TimeoutError)),
        may_have_run=was_sent and not isinstance(exc, (redis.ResponseError, redis.BusyLoadingError)),
    )
