"""Where Redis is: a URL, or a client of redis-py passed in, becomes a pool of connections.

::

    redis://[[user]:password@]host[:port][/database][?option=value&…]
    rediss://…                                                              the same over TLS
    unix://[[user]:password@]/path/of/socket[?db=database]
    redis+sentinel://[[user]:password@]host[:port],…/service[/database][?…]  rediss+sentinel:// over TLS
    redis+cluster://[[user]:password@]host[:port],…[?…]                      rediss+cluster:// over TLS

Options are those of redis-py's connections.  User and password are the server's; the sentinels' own are the
options ``sentinel_username`` and ``sentinel_password``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

import redis
from redis import connection as _untyped
from redis.sentinel import SentinelConnectionPool

from eventy_sync.errors import RedisConfigurationError
from eventy_sync.redis.cluster import Address, ClusterFinder
from eventy_sync.redis.pool import Finder, ServerPool
from eventy_sync.redis.sentinel import SentinelFinder

_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_parse: Callable[[str], dict[str, Any]] = _untyped.parse_url  # redis-py has no types for it
_SENTINEL_PORT, _REDIS_PORT = 26379, 6379
_OF_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password"}
_ADDRESS = re.compile(r"(?:\[(?P<bracketed>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]@\s]+))(?::(?P<port>\d{1,5}))?")
_ENCODE = "in user and password, characters such as / ? # @ and : must be percent-encoded"


class _Parts(NamedTuple):
    """A URL, taken apart.  `secret` is what stands before the @, with it; `kind` is what stands behind the +."""

    scheme: str
    kind: str
    secret: str
    hosts: str
    path: str
    options: dict[str, str]


def make_pool(url: str, database: int, password: str | None) -> ServerPool:
    """Return a pool for a URL; a database other than 0, and a password, stand in place of the URL's.

    Raises:
        RedisConfigurationError: the URL cannot be used.  No part of a password is in the error.
    """
    try:
        parts = _split(url)
        options = _connection_options(parts)
        connection_class = options.pop("connection_class", redis.Connection)
        if database:
            options["db"] = database
        if password is not None:
            options["password"] = password
        pool = ServerPool(connection_class, options, _finder(parts, connection_class, options))
    except ValueError as exc:
        raise RedisConfigurationError(f"redis_url cannot be used: {exc}") from None
    return _checked(pool, "redis_url")


def _checked(pool: ServerPool, given: str) -> ServerPool:
    """Return the pool if redis-py knows all its options."""
    try:
        pool.make()
    except TypeError as exc:
        name = re.search(r"unexpected keyword argument '(\w+)'", str(exc))
        detail = f": {name[1]}" if name else ""
        raise RedisConfigurationError(f"{given} cannot be used: redis-py has no such option{detail}") from None
    return pool


def _split(url: str) -> _Parts:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise ValueError(f"it must begin with {', '.join(f'{each}://' for each in _SCHEMES)}")
    base, _, kind = scheme.lower().partition("+")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority) :].partition("#")[0].partition("?")
    secret, at, hosts = authority.rpartition("@")
    if not at and "@" in rest and base != "unix":
        raise ValueError(_ENCODE)
    return _Parts(base, kind, secret + at, hosts, path, dict(parse_qsl(query)))


def _connection_options(parts: _Parts) -> dict[str, Any]:
    """Return what redis-py makes of the URL, or of a plain one with the same user, password and options."""
    database = "" if parts.scheme == "unix" else _database(parts)
    for number in [database, parts.options.get("db", "")]:
        if number and not number.isdigit():
            raise ValueError(f"the database number must be a number; {_ENCODE}")
    if parts.kind or (parts.scheme != "unix" and parts.hosts):
        many = _addresses(parts.hosts, _REDIS_PORT)
        if len(many) > 1 and not parts.kind:
            raise ValueError("several hosts need redis+sentinel:// or redis+cluster://")
    query = urlencode({name: value for name, value in parts.options.items() if name not in _OF_SENTINELS})
    host, path = ("", f"/{database}") if parts.kind else (parts.hosts, parts.path)
    try:
        options: dict[str, Any] = _parse(f"{parts.scheme}://{parts.secret}{host}{path}?{query}")
    except ValueError:  # its text may hold the password
        raise ValueError(f"redis-py does not understand its options, user or password; {_ENCODE}") from None
    if parts.scheme == "rediss" and options.get("ssl_cert_reqs") != "none":
        options.setdefault("ssl_check_hostname", True)  # redis-py 5 does not unless it is told
    return options


def _database(parts: _Parts) -> str:
    """Return what stands in the place of a database number, "" if nothing does."""
    path = parts.path.strip("/")
    return path.partition("/")[2] if parts.kind == "sentinel" else path


def _addresses(hosts: str, default_port: int) -> list[Address]:
    found = []
    for each in hosts.split(","):
        address = _ADDRESS.fullmatch(each)
        if address is None or int(address["port"] or default_port) > 65535:
            raise ValueError(f"a host must be given as name, name:port or [IPv6 address]:port; {_ENCODE}")
        found.append((unquote(address["bracketed"] or address["host"]), int(address["port"] or default_port)))
    return found


def _finder(parts: _Parts, connection_class: type[Any], options: dict[str, Any]) -> Finder | None:
    if parts.kind == "cluster":
        return ClusterFinder(_addresses(parts.hosts, _REDIS_PORT), connection_class, options)
    if parts.kind == "sentinel":
        service_name = unquote(parts.path.strip("/").partition("/")[0])
        if not service_name:
            raise ValueError("the service's name is missing: redis+sentinel://host:26379/service")
        shared = {name: value for name, value in options.items() if name.startswith(("ssl_", "socket_"))}
        own = {ours: parts.options[name] for name, ours in _OF_SENTINELS.items() if name in parts.options}
        addresses = _addresses(parts.hosts, _SENTINEL_PORT)
        return SentinelFinder.at(addresses, service_name, connection_class, {**shared, **own})
    return None


def pool_of(client: Any) -> ServerPool:
    """Return a pool that finds the server as a client passed in does, but never retries and returns bytes.

    Raises:
        RedisConfigurationError: it is no client of redis-py that can be used here.
    """
    return _checked(_pool_of(client), "redis_client")


def _pool_of(client: Any) -> ServerPool:
    if isinstance(client, redis.RedisCluster):
        return _pool_of_cluster(client)
    if not isinstance(client, redis.Redis):
        raise RedisConfigurationError(
            f"redis_client must be a redis.Redis or a redis.RedisCluster, not a {type(client).__module__}."
            f"{type(client).__qualname__}"
        )
    given: Any = client.connection_pool
    if not isinstance(given, SentinelConnectionPool):
        return ServerPool(given.connection_class, given.connection_kwargs)
    if not given.is_master:
        raise RedisConfigurationError("redis_client reads from replicas: take Sentinel.master_for(), not slave_for()")
    connection_class = (
        redis.SSLConnection if issubclass(given.connection_class, redis.SSLConnection) else redis.Connection
    )
    finder = SentinelFinder.like(given.sentinel_manager, given.service_name)
    return ServerPool(connection_class, given.connection_kwargs, finder)


def _pool_of_cluster(client: Any) -> ServerPool:
    nodes = client.nodes_manager
    given = client.get_redis_connection(client.get_default_node()).connection_pool
    of_the_node = ("host", "port", "parser_class", "redis_connect_func")
    options = {name: value for name, value in given.connection_kwargs.items() if name not in of_the_node}
    addresses = [(each.host, int(each.port)) for each in [*nodes.startup_nodes.values(), *client.get_nodes()]]
    finder = ClusterFinder(list(dict.fromkeys(addresses)), given.connection_class, options, nodes.address_remap)
    return ServerPool(given.connection_class, options, finder)
