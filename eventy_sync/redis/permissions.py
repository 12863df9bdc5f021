"""Which of the commands that a queue needs this user may not use: each is tried on a key that is not there.

Nothing is left behind.  What would make a key fails for another reason once it is permitted, or does nothing; only
SADD cannot, so it runs in one script with the DEL that takes the key away again.
"""

from __future__ import annotations

from uuid import uuid4

import redis

from eventy_sync.errors import RedisConfigurationError
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Argument, Link
from eventy_sync.redis.pool import ServerPool
from eventy_sync.redis.translation import translated

_SHA = "0" * 40
_ON_A_KEY: dict[str, tuple[Argument, ...]] = {
    "get": (), "mget": (), "del": (), "pttl": (), "expire": (1,), "pexpire": (1,),
    "set": ("x", "XX"), "incrby": ("none",), "decrby": ("none",),
    "hget": ("x",), "hmget": ("x",), "hdel": ("x",), "hlen": (), "hexists": ("x",), "hkeys": (), "hvals": (),
    "hgetall": (), "hscan": (0,), "hset": ("x", "y", "z"),
    "srem": ("x",), "scard": (), "smembers": (),
    "zadd": ("XX", 1, "x"), "zrem": ("x",), "zscore": ("x",), "zcount": ("-inf", "+inf"),
    "zrangebyscore": ("-inf", "+inf"), "zrangebylex": ("-", "+"),
    "xadd": ("NOMKSTREAM", "*", "x", "y"), "xdel": ("0-1",), "xlen": (), "xrange": ("-", "+"),
    "xrevrange": ("+", "-"),
}  # fmt: skip
_WITHOUT_A_KEY: dict[str, tuple[Argument, ...]] = {
    "ping": ("PING",), "time": ("TIME",), "info": ("INFO", "server"), "script|load": ("SCRIPT", "LOAD", "return 1"),
    "eval": ("EVAL", "return 1", 0), "evalsha": ("EVALSHA", _SHA, 0),
}  # fmt: skip
_ADDS_AND_DELETES = "redis.call('SADD', KEYS[1], 'x') return redis.call('DEL', KEYS[1])"
COMMANDS = frozenset({*_ON_A_KEY, *_WITHOUT_A_KEY, "sadd", "publish", "subscribe", "unsubscribe"})


def missing_permissions(pool: ServerPool, keys: Keys) -> list[str]:
    """Return what is not permitted, in the words of ACL SETUSER: keys, channels and commands.

    Raises:
        RedisUnavailableError: the server cannot be had, or refuses for now what it permits.
    """
    link, names = Link(pool.make), keys.meta.removesuffix("meta")
    try:
        if _is_about("key", _refusal(link, ("GET", keys.meta))):
            return [f"~{names}*"]
        if _is_about("channel", _refusal(link, ("PUBLISH", _channel(keys), "x"))):
            return [f"&{names}*"]
        denied = [*_missing(link, keys), *_missing_of_channels(pool, keys)]
        return sorted(f"+{name}" for name in denied)
    finally:
        link.close()


def _missing(link: Link, keys: Keys) -> set[str]:
    key = f"{keys.meta}:doctor:{uuid4().hex}"
    denied = set()
    for name, arguments in _ON_A_KEY.items():
        place: tuple[Argument, ...] = (name, key, *arguments)
        if _refusal(link, place) is not None:
            denied.add(name)
    for name, whole in _WITHOUT_A_KEY.items():
        if _refusal(link, whole) is not None:
            denied.add(name)
    if not denied & {"eval", "del"} and _refusal(link, ("EVAL", _ADDS_AND_DELETES, 1, key)) is not None:
        denied.add("sadd")
    if _refusal(link, ("PUBLISH", _channel(keys), "x")) is not None:
        denied.add("publish")
    return denied


def _channel(keys: Keys) -> str:
    """Return a channel that nobody listens to and that is permitted together with the queue's."""
    return f"{keys.channel}:doctor"


def _refusal(link: Link, command: tuple[Argument, ...]) -> str | None:
    """Return what the server says when it does not permit this, None when it does."""
    try:
        link.command(*command)
    except RedisConfigurationError as exc:
        return str(exc) if _is_denied(exc.__cause__) else None  # permitted, and refused otherwise, as it was meant
    return None


def _is_denied(exc: BaseException | None) -> bool:
    return isinstance(exc, redis.exceptions.NoPermissionError) or any(
        sign in str(exc) for sign in ("NOPERM", "o permissions to ", "user executing the script can't")
    )


def _is_about(what: str, refusal: str | None) -> bool:
    """Return whether a refusal, with the server's own words in brackets, is not of the command but of this."""
    return refusal is not None and f"access a {what}" in refusal.replace(f"one of the {what}s", f"a {what}")


def _missing_of_channels(pool: ServerPool, keys: Keys) -> list[str]:
    """Try to subscribe, over a connection of its own: it serves for nothing else then."""
    connection = pool.make()
    name = "subscribe"
    try:
        for name in ("subscribe", "unsubscribe"):
            connection.send_command(name.upper(), _channel(keys))
            connection.read_response()
        return []
    except (redis.RedisError, OSError) as exc:
        if _is_denied(exc):
            return [name]
        raise translated(exc) from exc
    finally:
        connection.disconnect()
