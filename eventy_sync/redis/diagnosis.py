"""What is wrong with a server, or with a queue on it, found out by asking: nothing is joined, and nothing changed."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from eventy_sync.errors import CoordinationError, InvalidArgumentError, RedisConfigurationError
from eventy_sync.file.diagnosis import ERROR, OK, WARNING, Finding
from eventy_sync.file.identity import QueueIdentity
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Link
from eventy_sync.redis.permissions import missing_permissions
from eventy_sync.redis.pool import ServerPool
from eventy_sync.redis.roots import Root
from eventy_sync.redis.server_address import make_pool

PART, SHARED_PART = "server", "shared queue"
OLDEST_VERSION = (6, 2)
SLOW_SECONDS, CLOCK_SECONDS, FULL = 0.01, 2.0, 0.9
PINGS = 20
_READS_PERMISSIONS = "docs/redis.rst has the whole ACL SETUSER"


@dataclass(frozen=True)
class Place:
    """Where a queue is in Redis, as this root has it.  `identity` and `tail` are None where there is no root."""

    name: str
    prefix: str
    identity: QueueIdentity | None = None
    tail: int | None = None


def look_at_server(url: str, password: str | None, place: Place) -> list[Finding]:
    """Look at the server at this URL, and at the queue on it.  No finding shows a password."""
    try:
        pool = make_pool(url, 0, password)
        keys = Keys(place.prefix, place.name, pool.database, is_cluster=pool.is_cluster)
    except (RedisConfigurationError, InvalidArgumentError) as exc:
        return [Finding(PART, "address", ERROR, str(exc))]
    link = Link(pool.make)
    try:
        return list(_look(pool, keys, link, place))
    finally:
        link.close()
        pool.disconnect()


def _look(pool: ServerPool, keys: Keys, link: Link, place: Place) -> Iterator[Finding]:
    try:
        pool.serve(keys.journal)
        link.command("PING")
    except RedisConfigurationError as exc:
        yield Finding(PART, "connection", ERROR, f"{pool.display()}: {exc}")
        return
    except CoordinationError as exc:
        advice = "start it, or check the address and what lies between"
        if pool.is_encrypted:  # one that does not know what a handshake is says nothing
            advice += ", and whether it speaks TLS at this port: if not, take redis://"
        yield Finding(PART, "connection", ERROR, f"{pool.display()} cannot be had: {exc}", advice)
        return
    yield Finding(PART, "connection", OK, f"{pool.display()} answers")
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("version", lambda: _version(link)),
        ("eviction", lambda: _eviction(link)),
        ("permissions", lambda: _permissions(pool, keys)),
        ("latency", lambda: _latency(link)),
        ("clock", lambda: _clock(link)),
        ("queue", lambda: _queue(link, keys, place)),
    )
    for name, check in checks:
        try:
            yield from check()
        except CoordinationError as exc:
            yield Finding(PART, name, ERROR, f"cannot be told: {exc}")


def _info(link: Link, section: str) -> dict[str, str]:
    """Return what INFO says, {} where one may not ask."""
    try:
        text = link.command("INFO", section)
    except RedisConfigurationError:
        return {}
    return dict(re.findall(r"^(\w+):(.*?)\r?$", text.decode("utf-8", "replace"), re.MULTILINE))


def _version(link: Link) -> Iterator[Finding]:
    found = _info(link, "server")
    if "redis_version" not in found:
        advice = f"permit +info: without it a server that lost something is not noticed; {_READS_PERMISSIONS}"
        yield Finding(PART, "version", WARNING, "the server does not tell: INFO is not permitted", advice)
        return
    version = found["redis_version"]
    text = f"Valkey {found['valkey_version']}" if "valkey_version" in found else f"Redis {version}"
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST_VERSION:
        yield Finding(PART, "version", ERROR, text, "take Redis 6.2 or later, or Valkey")
    else:
        yield Finding(PART, "version", OK, text)
    if _info(link, "replication").get("role", "master") != "master":
        yield Finding(PART, "role", ERROR, "this is a replica", "name the primary, or Sentinels: redis+sentinel://…")


def _eviction(link: Link) -> Iterator[Finding]:
    found = _info(link, "memory")
    policy, limit = found.get("maxmemory_policy"), int(found.get("maxmemory", 0))
    if policy is None:
        yield Finding(
            PART, "eviction", WARNING, "the server does not tell its policy", "set maxmemory-policy noeviction"
        )
        return
    advice = "set maxmemory-policy noeviction, or give the queue a server of its own"
    if policy == "noeviction":
        yield Finding(PART, "eviction", OK, "noeviction: nothing is evicted")
    elif limit:
        text = f"{policy}: a claim that somebody holds may be evicted and given to a second worker"
        yield Finding(PART, "eviction", ERROR, text, advice)
    else:
        text = f"{policy}: claims may be evicted once there is a limit (maxmemory); there is none now"
        yield Finding(PART, "eviction", WARNING, text, advice)
    used = int(found.get("used_memory", 0))
    if limit and used > FULL * limit:
        text = f"{used / limit:.0%} of maxmemory is used; a server that is full refuses what a queue writes"
        yield Finding(PART, "memory", WARNING, text, "raise maxmemory, or give queues a smaller journal_length")


def _permissions(pool: ServerPool, keys: Keys) -> Iterator[Finding]:
    missing = missing_permissions(pool, keys)
    if needed := [each for each in missing if each != "+info"]:
        advice = f"ACL SETUSER … {' '.join(needed)}; {_READS_PERMISSIONS}"
        yield Finding(PART, "permissions", ERROR, f"the user lacks {' '.join(needed)}", advice)
    else:
        yield Finding(PART, "permissions", OK, "the user may do all that a queue does")


def _latency(link: Link) -> Iterator[Finding]:
    taken = []
    for _ in range(PINGS):
        begun = time.perf_counter()
        link.command("PING")
        taken.append(time.perf_counter() - begun)
    seconds = statistics.median(taken)
    text = f"an answer takes {seconds * 1000:.2f} ms, the longest of {PINGS} took {max(taken) * 1000:.2f} ms"
    if seconds > SLOW_SECONDS:
        advice = "each publish waits for one answer: take a server that is nearer, and publish_many"
        yield Finding(PART, "latency", WARNING, text, advice)
    else:
        yield Finding(PART, "latency", OK, text)


def _clock(link: Link) -> Iterator[Finding]:
    before = time.time()
    seconds, microseconds = map(int, link.command("TIME"))
    difference = seconds + microseconds / 1e6 - (before + time.time()) / 2
    text = f"the server's clock is {abs(difference):.3f} s {'ahead of' if difference > 0 else 'behind'} this host's"
    if abs(difference) > CLOCK_SECONDS:
        advice = "let NTP keep both: events are handed out when due by the hosts' clocks"
        yield Finding(PART, "clock", WARNING, text, advice)
    else:
        yield Finding(PART, "clock", OK, text)


def _queue(link: Link, keys: Keys, place: Place) -> Iterator[Finding]:
    known_id, next_id = link.command("HGET", keys.meta, "queue_id"), link.command("GET", keys.next_event_id)
    if known_id is None:
        advice = "" if place.identity is None or place.identity.joined is None else "the next worker brings it back"
        yield Finding(SHARED_PART, "queue", OK, f"the server knows no queue {place.name!r}", advice)
        return
    if place.identity is not None and known_id.decode() != str(place.identity.queue_id):
        if place.tail or place.identity.joined is not None:
            text = f"{place.name!r} on this server is another queue than the one in the directory"
            advice = "give one of them another name or redis_prefix, or a server of its own"
            yield Finding(SHARED_PART, "queue", ERROR, text, advice)
        else:
            text = f"{place.name!r} is on the server; this directory becomes a copy of it when it is opened"
            yield Finding(SHARED_PART, "queue", OK, text)
        return
    yield _lag_of_this_root(int(next_id or 1) - 1, place)
    yield from _awaited(link, keys)


def _lag_of_this_root(last_id: int, place: Place) -> Finding:
    text = f"{place.name!r}: the last event is {last_id}"
    if place.tail is None or place.tail == last_id:
        return Finding(SHARED_PART, "queue", OK, text)
    if place.tail > last_id:
        text = f"{text}, this root has gone on to {place.tail} without the server"
        return Finding(SHARED_PART, "queue", WARNING, text, "start a worker here: it brings the server up to date")
    advice = "a worker here catches up, or at once: eventy-sync resync"
    return Finding(SHARED_PART, "queue", WARNING, f"{text}, this root is {last_id - place.tail} behind", advice)


def _awaited(link: Link, keys: Keys) -> Iterator[Finding]:
    """Say for which roots publishing waits."""
    awaited = sorted(each.decode("utf-8", "replace") for each in link.command("SMEMBERS", keys.awaiting))
    for root_id in awaited:
        host = _host(link.command("HGET", keys.roots, root_id))
        text = f"publishing waits for root {root_id} on {host} to say how far its log goes"
        advice = f"start a worker there, or, if it is gone for good: eventy-sync forget-root {root_id}"
        yield Finding(SHARED_PART, "awaited roots", ERROR, text, advice)
    if not awaited:
        yield Finding(SHARED_PART, "awaited roots", OK, "no root is awaited")


def _host(description: bytes | None) -> str:
    try:
        return msgspec.json.decode(description or b"{}", type=Root).host or "an unknown host"
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "an unknown host"
