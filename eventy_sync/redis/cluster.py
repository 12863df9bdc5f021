"""Finding the server in a Cluster: whichever node has the slot of a queue's keys at the moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis
from redis.crc import key_slot

from eventy_sync.redis.pool import TIMEOUT_SECONDS, Finder, ServerPool, display_address

Address = tuple[str, int]
_LONGEST_SECONDS = 2 * TIMEOUT_SECONDS


class ClusterFinder(Finder):
    """Asks the nodes in turn, over connections that are closed at once: slots move seldom.

    `remap` turns an address that a node tells into one that can be reached from here.
    """

    kind = "cluster"
    is_cluster = True

    def __init__(
        self,
        addresses: Sequence[Address],
        connection_class: type[Any],
        options: Mapping[str, Any],
        remap: Callable[[Address], Address] | None = None,
    ) -> None:
        self._seeds = list(addresses)
        without_database = {name: value for name, value in options.items() if name != "db"}
        self._pool = ServerPool(connection_class, without_database)
        self._remap = remap or (lambda address: address)
        self._slot = 0
        # replaced as a whole, never changed: nodes in the order in which they are asked
        self._known: list[Address] = []

    def serve(self, key: str) -> None:
        self._slot = key_slot(key.encode())

    def find(self) -> Address:
        deadline = time.monotonic() + _LONGEST_SECONDS
        error: redis.RedisError | None = None
        for address in dict.fromkeys([*self._known, *self._seeds]):
            try:
                if (owner := self._ask(address)) is not None:
                    return owner
            except redis.AuthenticationError:
                raise
            except (redis.ConnectionError, redis.TimeoutError) as exc:
                error = exc
            if time.monotonic() > deadline:
                break
        raise error or redis.exceptions.ClusterDownError(f"no node has slot {self._slot} at the moment")

    def _ask(self, address: Address) -> Address | None:
        """Return who has the slot, as the node at this address sees it."""
        owner: Address | None = None
        nodes: list[Address] = []
        for first, last, *told in self._slots(address):
            found = [self._remap(_address(node, address[0])) for node in told]
            nodes += found
            if first <= self._slot <= last:
                owner = found[0]
        if owner is not None:
            self._known = [owner, *nodes]
        return owner

    def _slots(self, address: Address) -> list[Any]:
        connection = self._pool.make()
        connection.host, connection.port = address
        try:
            connection.connect()
            connection.send_command("CLUSTER", "SLOTS")
            return list(connection.read_response())
        finally:
            connection.disconnect()

    def display(self) -> str:
        return ",".join(display_address(*address) for address in self._seeds)


def _address(node: Sequence[Any], asked_host: str) -> Address:
    """Return the address of a node; one that does not know its own name is where it was asked."""
    host = (node[0] or b"").decode()
    return (host if host not in ("", "?") else asked_host), int(node[1])
