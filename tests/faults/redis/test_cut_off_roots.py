"""A root that cannot reach the server while another can."""

from __future__ import annotations

import os
import time

import pytest

from eventy_sync import CoordinationError
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import (
    Make,
    Wait,
    impatient,
    log_bytes,
    numbers,
    outcome,
    publish_when_possible,
    wait_for_mode,
)

FREEZE_SECONDS = float(os.environ.get("EVENTY_TEST_FREEZE_SECONDS", "1.5"))


@pytest.mark.parametrize("how", ["refuse", "freeze"])
def test_a_root_that_is_cut_off_refuses_and_catches_up(make: Make, proxy: Proxy, wait_until: Wait, how: str) -> None:
    """It reads on and refuses what is unsafe; the other goes on; back again, it delivers all in order."""
    with make("a") as a, make("b", redis_url=impatient(proxy.url)) as b:
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        wait_until(lambda: seen == [1, 2])
        assert a.create_claim("x")
        getattr(proxy, how)()
        assert outcome(b, {"n": "no"}) in ("refused", "unknown")
        assert b.health()["mode"] == "degraded"
        assert outcome(b, {"n": "no"}) == "refused"
        with pytest.raises(CoordinationError, match="the claim was not taken"):
            b.create_claim("x")
        a.publish_many([{"n": number} for number in range(2, 500)])
        assert a.release_claim("x")
        assert numbers(b) == [0, 1]
        (proxy.accept if how == "refuse" else proxy.thaw)()
        wait_for_mode(b, "connected", wait_until)
        wait_until(lambda: len(seen) >= 500)
        assert b.create_claim("x")
        there = [number for number in numbers(b) if number != "no"]
        assert there == list(range(500))
        assert seen == list(range(1, len(numbers(b)) + 1))
        wait_until(lambda: log_bytes(a) == log_bytes(b))


def test_a_root_that_is_cut_off_beyond_the_journal_gets_the_rest_from_the_other(
    make: Make, proxy: Proxy, server: RedisServer, wait_until: Wait
) -> None:
    """While it is open: delivery goes on behind the resync, in order and without a hole."""
    with make("a", journal_length=50) as a, make("b", redis_url=proxy.url, journal_length=50) as b:
        a.subscribe(lambda event: None)
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        publish_when_possible(a, {"n": 0}, wait_until)
        wait_until(lambda: seen == [1])
        proxy.refuse()
        assert outcome(b, {"n": "no"}) in ("refused", "unknown")  # it may have gone before the connection broke
        for start in range(1, 2001, 100):
            a.publish_many([{"n": number} for number in range(start, start + 100)])
        server.command("XTRIM", "eventy:orders:journal", "MAXLEN", "50")
        proxy.accept()
        wait_until(lambda: len(seen) == 2001)
        assert seen == list(range(1, 2002))
        wait_for_mode(b, "connected", wait_until)
        assert b.publish({"n": 2001}).id == 2002
        wait_until(lambda: log_bytes(a) == log_bytes(b))
        assert b.health()["gaps"] == 0


def test_a_server_that_does_not_answer_holds_up_one_call_of_each_root(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Two roots: the first publish takes the timeout, the next ones are refused at once; then all goes on."""
    with make("a", redis_url=impatient(server.url)) as a, make("b", redis_url=impatient(server.url)) as b:
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: None)
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        server.freeze()
        started = time.monotonic()
        assert outcome(a, {"n": "perhaps a"}) in ("refused", "unknown")
        assert outcome(b, {"n": "perhaps b"}) in ("refused", "unknown")
        assert time.monotonic() - started < 8
        rounds, frozen_until = 0, time.monotonic() + FREEZE_SECONDS
        while time.monotonic() < frozen_until:
            assert [outcome(queue, {"n": "no"}) for queue in (a, b)] == ["refused"] * 2
            rounds += 1
        assert rounds > 5 * FREEZE_SECONDS  # a call that waits again takes half a second
        server.thaw()
        wait_for_mode(a, "connected", wait_until)
        wait_for_mode(b, "connected", wait_until)
        publish_when_possible(a, {"n": 2}, wait_until)
        publish_when_possible(b, {"n": 3}, wait_until)
        wait_until(lambda: log_bytes(a) == log_bytes(b))
        assert [number for number in numbers(a) if isinstance(number, int)] == [0, 1, 2, 3]
        assert "no" not in numbers(a)


def test_delayed_replies_keep_a_root_connected(make: Make, wait_until: Wait, server: RedisServer) -> None:
    """A slow line is no reason to degrade, as long as the replies come in time."""
    with Proxy(server.port, delay_seconds=0.02) as slow, make("a", redis_url=slow.url) as a, make("b") as b:
        seen: list[int] = []
        a.subscribe(lambda event: seen.append(event.id))
        for number in range(0, 20, 2):
            a.publish({"n": number})
            b.publish({"n": number + 1})
        wait_until(lambda: seen == list(range(1, 21)))
        assert (a.health()["mode"], a.create_claim("x"), b.create_claim("x")) == ("connected", True, False)
        assert numbers(a) == numbers(b) == list(range(20))
