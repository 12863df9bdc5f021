"""Replies that are lost after the server has done what it was asked, and requests that reach it too late."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from eventy_sync import CoordinationError
from eventy_sync.redis.link import Script
from eventy_sync.redis.numbering import FILL_SECONDS
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

HEARTBEAT = Script("heartbeat").sha
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


@pytest.mark.parametrize("has_other_root", [True, False])
def test_a_request_that_is_lost_twice_is_not_sent_a_third_time(
    make: Make, proxy: Proxy, wait_until: Wait, has_other_root: bool
) -> None:
    """The first one never came, the second one was served: it can no longer be asked for, so nobody knows."""
    with make("a", redis_url=proxy.url) as a, make("b", resync=True) if has_other_root else nullcontext() as b:
        a.publish({"n": 0})
        proxy.hold_request(PUBLISH)
        proxy.lose_reply(PUBLISH)
        cutter = cut_when_held(proxy, wait_until)
        assert outcome(a, {"n": 1}) == ("unknown" if has_other_root else "published")
        cutter.join()
        assert proxy.struck == ["hold request", "lose reply"]
        proxy.deliver()
        wait_for_mode(a, "connected", wait_until)
        with b or make("b", resync=True) as b:
            assert settle(a, b, wait_until) == [0, 1]


def publish_while(a: Queue, proxy: Proxy, wait_until: Wait, meanwhile: Callable[[], None]) -> str:
    """Publish 1, do this once it was served, cut the connection in place of the reply, and return the outcome."""
    outcomes: list[str] = []
    proxy.keep_reply(PUBLISH)
    thread = threading.Thread(target=lambda: outcomes.append(outcome(a, {"n": 1})))
    thread.start()
    try:
        wait_until(lambda: proxy.struck)
        meanwhile()
        proxy.cut()
    finally:
        thread.join()
    return outcomes[0]


def test_a_request_that_the_server_has_lost_is_not_served_again(
    make: Make, server: RedisServer, proxy: Proxy, wait_until: Wait
) -> None:
    """Another root has the event by then: to publish it once more would double it, so its outcome is unknown."""
    with make("a", redis_url=f"{proxy.url}?socket_timeout=20") as a, make("b") as b:
        b.subscribe(lambda event: None)
        publish_when_possible(a, {"n": 0}, wait_until)

        def lose_all() -> None:
            wait_until(lambda: numbers(b) == [0, 1])
            server.command("FLUSHALL")

        assert publish_while(a, proxy, wait_until, lose_all) == "unknown"
        wait_for_mode(a, "connected", wait_until)
        assert settle(a, b, wait_until) == [0, 1]


def test_a_request_that_the_server_knows_in_a_new_epoch_brings_the_same_ids(
    make: Make, server: RedisServer, proxy: Proxy, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a failover to a server that had the request: nothing of it was lost.  Connections of old are dead."""
    with make("a", redis_url=f"{proxy.url}?socket_timeout=20") as a, make("b") as b:
        publish_when_possible(a, {"n": 0}, wait_until)

        def end_epoch() -> None:
            wait_until(lambda: server.command("XLEN", "eventy:orders:journal") == 2)
            server.command("HDEL", "eventy:orders:meta", "epoch")
            time.sleep(2 * FILL_SECONDS)  # a reply may be late before it is lost
            proxy.lose_reply(Script("join").sha)

        with monkeypatch.context() as patience:  # however slow the machine is until the reply is lost
            patience.setattr("eventy_sync.redis.numbering.AWAIT_SECONDS", 15.0)
            patience.setattr("eventy_sync.redis.numbering.LONGEST_SECONDS", 30.0)
            assert publish_while(a, proxy, wait_until, end_epoch) == "published"
        assert settle(a, b, wait_until) == [0, 1]


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


def test_an_event_that_has_its_id_is_published_though_the_heartbeat_behind_it_fails(
    make: Make, proxy: Proxy, wait_until: Wait
) -> None:
    """The heartbeat would have told of the other root; it is tried again, the publish is not."""
    with make("a", redis_url=impatient(proxy.url)) as a:
        a.publish({"n": 0})
        with make("b", resync=True) as b:
            proxy.keep_reply(HEARTBEAT)
            assert outcome(a, {"n": 1}) == "published"
            assert proxy.struck == ["keep reply"]
            assert settle(a, b, wait_until) == [0, 1]
            assert a.health()["other_roots"] == 1


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


def test_a_root_is_closed_by_its_last_worker_though_the_reply_is_lost(make: Make, proxy: Proxy) -> None:
    """Its last word is one request, so there is no second one that is never sent; nobody waits for it then."""
    with make("b"):
        pass  # the server knows the script then
    with make("a") as a:
        with make("b", redis_url=proxy.url):
            assert [each.is_open for each in a.roots()] == [True]
            proxy.lose_reply(Script("leave").sha)
        assert proxy.struck == ["lose reply"]
        assert [each.is_open for each in a.roots()] == [False]


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
