"""Requests that reach the server after their sender has given them up: each is void by then.

A request may be on its way for long: the client times out or its connection breaks, the root joins anew and
goes on, and only then does the server get it.
"""

from __future__ import annotations

import pytest

from eventy_sync import CoordinationError
from tests.faults.redis.proxy import Proxy, cut_when_held
from tests.faults.redis.queues import Make, Wait, impatient, outcome, settle, wait_for_mode

PUBLISH = "add_event"


def test_a_request_that_arrives_after_later_ones_brings_nothing_new(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """As above, but the root has published others in between."""
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        a.publish({"n": 0})
        proxy.hold_request(PUBLISH)
        cutter = cut_when_held(proxy, wait_until)
        a.publish({"n": 1})
        cutter.join()
        a.publish({"n": 2})
        b.publish({"n": 3})
        proxy.deliver()
        assert settle(a, b, wait_until) == [0, 1, 2, 3]


def test_a_request_that_was_given_up_and_arrives_late_brings_nothing(
    make: Make, proxy: Proxy, wait_until: Wait
) -> None:
    """It timed out, the root came back and went on; whoever published it again has it once."""
    url = impatient(proxy.url)
    with make("a", redis_url=url) as a, make("b", resync=True) as b:
        a.subscribe(lambda event: None)
        b.publish({"n": 0})
        a.publish({"n": 1})
        proxy.hold_request(PUBLISH)
        assert outcome(a, {"n": 2}) == "unknown"
        wait_for_mode(a, "connected", wait_until)
        a.publish({"n": 2})
        a.publish({"n": 3})
        proxy.deliver()
        a.publish({"n": 4})
        assert settle(a, b, wait_until) == [0, 1, 2, 3, 4]


def test_a_claim_whose_grant_has_no_reply_is_had_by_who_asks_again(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """The server had granted it to this worker: nobody else gets it, and this worker does."""
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        a.publish({"n": 0})
        b.publish({"n": 1})
        assert a.create_claim("y")  # the server knows the script from now on
        proxy.lose_reply("claim:x")
        try:
            has_it = a.create_claim("x", ttl_seconds=60)
        except CoordinationError:
            has_it = False
        wait_for_mode(a, "connected", wait_until)
        assert has_it or a.create_claim("x", ttl_seconds=60)
        assert not b.create_claim("x")
        assert b.get_claim("x").worker_id == a.worker_id
        assert a.renew_claim("x").token == b.get_claim("x").token
        assert a.release_claim("x")
        assert b.create_claim("x")


def test_a_claim_that_was_given_up_and_is_granted_late_is_nobodys(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """Its asker was told that it has not got it; it does not stand in anybody's way."""
    with make("a", redis_url=impatient(proxy.url)) as a, make("b") as b:
        a.publish({"n": 0})
        b.publish({"n": 1})
        assert a.create_claim("y")  # the server knows the script from now on
        proxy.hold_request("claim:x")
        with pytest.raises(CoordinationError, match="whether the claim was taken is unknown"):
            a.create_claim("x", ttl_seconds=60)
        wait_for_mode(a, "connected", wait_until)
        proxy.deliver()
        assert b.create_claim("x")
