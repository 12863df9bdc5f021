"""Replies that are lost after the server has done what it was asked, and requests that reach it too late."""

from __future__ import annotations

import random
import threading
from contextlib import nullcontext

import pytest

from eventy_sync import CoordinationError
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy, cut_when_held
from tests.faults.redis.queues import (
    Make,
    Queue,
    Wait,
    impatient,
    numbers,
    outcome,
    publish_when_possible,
    settle,
    wait_for_mode,
)

PUBLISH = "add_event"
JOIN = "awaiting"


@pytest.mark.parametrize("has_other_root", [True, False])
def test_a_publish_whose_reply_is_lost_brings_the_same_ids_again(
    make: Make, proxy: Proxy, wait_until: Wait, has_other_root: bool
) -> None:
    """One event or a batch, with another root or alone: none is doubled, none is lost, none is refused."""
    with make("a", redis_url=proxy.url) as a, make("b", resync=True) if has_other_root else nullcontext() as b:
        a.subscribe(lambda event: None)
        a.publish({"n": 0})
        for number in range(1, 41, 4):
            proxy.lose_reply(PUBLISH)
            a.publish({"n": number})
            proxy.lose_reply(PUBLISH)
            a.publish_many([{"n": number + each} for each in (1, 2, 3)])
        assert proxy.struck == ["lose reply"] * 20
        assert numbers(a) == list(range(41))
        with b or make("b", resync=True) as b:
            assert settle(a, b, wait_until) == list(range(41))


def test_a_publish_whose_reply_never_comes_is_there_once_or_not_at_all(
    make: Make, proxy: Proxy, wait_until: Wait
) -> None:
    """The error says that it is unknown; what the server has done shows when the root is back."""
    with make("a", redis_url=impatient(proxy.url)) as a, make("b") as b:
        b.subscribe(lambda event: None)
        for number in range(4):
            publish_when_possible(a, {"n": number}, wait_until)
        proxy.keep_reply(PUBLISH)
        assert outcome(a, {"n": 4}) == "unknown"
        wait_for_mode(a, "connected", wait_until)
        assert settle(a, b, wait_until) == [0, 1, 2, 3, 4]  # the server had done it


def test_alone_a_publish_whose_reply_never_comes_is_there_once(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """It is published without the server, and what the server made of it gives way."""
    with make("a", redis_url=impatient(proxy.url)) as a:
        a.publish({"n": 0})
        proxy.keep_reply(PUBLISH)
        assert a.publish({"n": 1}).id == 2
        wait_for_mode(a, "connected", wait_until)
        assert a.publish({"n": 2}).id == 3
        with make("b", resync=True) as b:
            assert settle(a, b, wait_until) == [0, 1, 2]


def test_a_request_that_arrives_after_its_repeat_brings_nothing_new(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """The connection was cut, the request repeated over another; the server gets the first one afterwards."""
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        a.publish({"n": 0})
        proxy.hold_request(PUBLISH)
        cutter = cut_when_held(proxy, wait_until)
        a.publish({"n": 1})
        cutter.join()
        proxy.deliver()
        assert settle(a, b, wait_until) == [0, 1]


def test_alone_a_request_that_was_given_up_and_arrives_late_brings_nothing(
    make: Make, proxy: Proxy, wait_until: Wait
) -> None:
    """The event was published without the server, which had to be told; it is not there twice."""
    with make("a", redis_url=impatient(proxy.url)) as a:
        a.subscribe(lambda event: None)
        a.publish({"n": 1})
        proxy.hold_request(PUBLISH)
        assert outcome(a, {"n": 2}) == "published"
        wait_for_mode(a, "connected", wait_until)
        a.publish({"n": 3})
        proxy.deliver()
        a.publish({"n": 4})
        with make("b", resync=True) as b:
            assert settle(a, b, wait_until) == [1, 2, 3, 4]


def test_a_join_whose_reply_is_lost_is_done_again(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """The queue opens all the same, and is connected soon."""
    with make("c", redis_prefix="other"):
        pass  # the server knows the script from now on
    proxy.lose_reply(JOIN)
    with make("a", redis_url=proxy.url) as a:
        assert proxy.struck == ["lose reply"]
        wait_for_mode(a, "connected", wait_until)
        assert a.publish({"n": 0}).id == 1
    with make("b", resync=True) as b, make("a") as a:
        a.subscribe(lambda event: None)
        b.publish({"n": 1})
        wait_until(lambda: numbers(a) == [0, 1])


def test_connections_that_are_cut_at_any_moment_lose_and_double_nothing(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Two roots publish from two threads each: acknowledged events are there once, refused ones not at all."""
    with Proxy(server.port) as to_a, Proxy(server.port) as to_b:
        a, b = make("a", redis_url=to_a.url), make("b", redis_url=to_b.url)
        with a, b:
            a.subscribe(lambda event: None)
            b.subscribe(lambda event: None)
            outcomes: dict[int, str] = {}

            def publish(queue: Queue, first: int) -> None:
                for number in range(first, first + 100):
                    outcomes[number] = outcome(queue, {"n": number})
                    if outcomes[number] != "published":
                        wait_for_mode(queue, "connected", wait_until)

            threads = [
                threading.Thread(target=publish, args=(queue, first))
                for queue, first in ((a, 0), (a, 1000), (b, 2000), (b, 3000))
            ]
            for thread in threads:
                thread.start()
            randomly, pause = random.Random(7), threading.Event()
            while any(thread.is_alive() for thread in threads):
                randomly.choice([to_a, to_b]).cut()
                pause.wait(randomly.uniform(0.001, 0.05))
            there = settle(a, b, wait_until)
            assert len(set(there)) == len(there)
            assert {number for number in outcomes if outcomes[number] == "published"} <= set(there)
            assert not {number for number in outcomes if outcomes[number] == "refused"} & set(there)
            assert list(outcomes.values()).count("published") > 200


def test_a_claim_whose_release_has_no_reply_is_free(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """The server had freed it."""
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        a.publish({"n": 0})
        assert a.create_claim("x", ttl_seconds=60)
        assert a.release_claim("x")  # the server knows the script from now on
        assert a.create_claim("x", ttl_seconds=60)
        proxy.lose_reply("claim:x")
        assert a.release_claim("x")
        assert b.create_claim("x")
        wait_for_mode(a, "connected", wait_until)
        assert not a.create_claim("x")


def test_a_claim_whose_renewal_has_no_reply_is_still_held(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """Refused for now, for nobody knows; renewed when the root is back."""
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        a.publish({"n": 0})
        b.publish({"n": 1})
        assert a.create_claim("x", ttl_seconds=60)
        a.renew_claim("x", ttl_seconds=60)  # the server knows the script from now on
        proxy.lose_reply("claim:x")
        with pytest.raises(CoordinationError, match="the claim was not renewed"):
            a.renew_claim("x", ttl_seconds=60)
        wait_for_mode(a, "connected", wait_until)
        assert not b.create_claim("x")
        assert a.renew_claim("x", ttl_seconds=60).token == b.get_claim("x").token


def test_a_claim_that_is_released_without_a_server_is_free_when_the_root_is_back(
    make: Make, proxy: Proxy, wait_until: Wait
) -> None:
    """Rather than when its time is over; what the root holds on is held."""
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        a.publish({"n": 0})
        b.publish({"n": 1})
        assert a.create_claim("x", ttl_seconds=60)
        assert a.create_claim("y", ttl_seconds=60)
        proxy.refuse()
        assert a.release_claim("x")
        assert not b.create_claim("x")
        proxy.accept()
        wait_for_mode(a, "connected", wait_until)
        assert b.create_claim("x")
        assert not b.create_claim("y")
