"""Finding the server by Sentinel: whichever is the primary of a service at the moment."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import redis
import redis.sentinel

from eventy_sync.redis.pool import Finder, ServerPool, display_address

_untyped: Any = redis.sentinel


class SentinelFinder(Finder):
    """Asks the sentinels in turn, beginning with the one that answered last.

    `sentinel` is redis-py's; its clients are replaced by ones that never retry.
    """

    kind = "sentinel"

    def __init__(self, sentinel: Any, pools: Sequence[ServerPool], service_name: str) -> None:
        self._sentinel, self._pools, self._service_name = sentinel, pools, service_name
        # replaced as a whole, never changed
        self._clients: list[Any] = [redis.Redis(connection_pool=pool) for pool in pools]

    @classmethod
    def at(
        cls,
        addresses: Sequence[tuple[str, int]],
        service_name: str,
        connection_class: type[Any],
        options: Mapping[str, Any],
    ) -> SentinelFinder:
        """Return a finder that asks sentinels at these addresses, connecting with these options."""
        pools = [ServerPool(connection_class, {**options, "host": host, "port": port}) for host, port in addresses]
        return cls(_untyped.Sentinel([]), pools, service_name)

    @classmethod
    def like(cls, sentinel: Any, service_name: str) -> SentinelFinder:
        """Return a finder that asks as this `Sentinel` of redis-py does."""
        given = [client.connection_pool for client in sentinel.sentinels]
        pools = [ServerPool(each.connection_class, each.connection_kwargs) for each in given]
        return cls(sentinel, pools, service_name)

    def find(self) -> tuple[str, int]:
        sentinel = copy.copy(self._sentinel)
        sentinel.sentinels = list(self._clients)  # it changes their order
        try:
            host, port = sentinel.discover_master(self._service_name)
        except _untyped.MasterNotFoundError:  # its text may hold a password
            raise self._reason() from None
        self._clients = sentinel.sentinels
        return host, int(port)

    def _reason(self) -> redis.RedisError:
        """Return why no sentinel names a primary, as an error that passes or one that does not."""
        answers = 0
        for client in self._clients:
            try:
                found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service_name)
            except (redis.AuthenticationError, redis.ResponseError) as exc:
                return exc
            except redis.RedisError:
                continue
            if found is not None:
                return redis.ConnectionError(f"Sentinel says that {self._service_name!r} has no primary at the moment")
            answers += 1
        if answers:
            return redis.ResponseError(f"Sentinel knows no service {self._service_name!r}: check the name in the URL")
        return redis.ConnectionError(f"none of the sentinels can be reached: {self._addresses()}")

    def _addresses(self) -> str:
        known = [pool.connection_kwargs for pool in self._pools]
        return ",".join(display_address(each.get("host", "localhost"), each.get("port", 26379)) for each in known)

    def display(self) -> str:
        return f"{self._addresses()}/{self._service_name}"

    def close(self) -> None:
        for pool in self._pools:
            pool.disconnect(inuse_connections=False)  # another thread may be asking: pools have their finder in common
