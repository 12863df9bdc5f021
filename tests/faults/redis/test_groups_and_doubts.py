"""A group of which a root has told or asked something, and the server has lost it since."""

from __future__ import annotations

from typing import Any

import pytest

from eventy_sync.redis.link import Script
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.groups import Hand, has_once
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Wait, impatient

GROUP = "eventy:orders:group:work"
EXCHANGE = Script("exchange").sha


def test_what_another_worker_has_by_now_does_not_go_back(
    make: Make, server: RedisServer, proxy: Proxy, wait_until: Wait
) -> None:
    """A lost reply may name a token that a server with an older state has given to somebody else since."""
    with make("a", redis_url=impatient(proxy.url)) as a, make("b") as b:
        b.subscribe(lambda event: None)
        a.publish_many([{}] * 3)
        worker = Hand(a, wait_until)
        proxy.keep_reply(EXCHANGE)
        worker.ask_in_vain()
        (token,) = server.command("HKEYS", f"{GROUP}:leases")
        _, _, rest = server.command("HGET", f"{GROUP}:leases", token).partition(b" ")
        server.command("HSET", f"{GROUP}:leases", token, b"%b %b" % (str(b.worker_id).encode(), rest))
        assert worker.ask() == []
        assert (b.groups()[0].leased, b.groups()[0].waiting) == (3, 0)


def test_what_a_root_knows_is_told_again_if_the_server_loses_it_before_the_root_has_joined(
    make: Make, server: RedisServer, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """It has joined in another epoch than it told its groups in: nothing is handled again."""
    seen: list[int] = []

    def handle(event: Any) -> None:
        seen.append(event.id)

    with make("a") as a:
        a.subscribe(handle, group="work", from_index=1)
        a.publish_many([{}] * 20)
        wait_until(has_once(a, 20))
    a = make("a")
    with a:
        coordinator: Any = a._opened().coordinator
        join = coordinator._membership.join
        told: list[bool] = []

        def lose_and_join(*arguments: Any) -> bytes:
            if not told:
                told.append(True)
                server.command("FLUSHALL")
            epoch: bytes = join(*arguments)
            return epoch

        coordinator._membership.epoch = None
        monkeypatch.setattr(coordinator._membership, "join", lose_and_join)
        a.publish({})
        assert told
        a.subscribe(handle, group="work", from_index=1)
        wait_until(has_once(a, 21))
        assert seen == list(range(1, 22))
