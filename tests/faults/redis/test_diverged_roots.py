"""A root that was cut off and went on alone, while the queue went on elsewhere."""

from __future__ import annotations

import pytest

from eventy_sync import QueueIdentityError
from eventy_sync.storage.log import Entry
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Wait, impatient, log_bytes, numbers, publish_when_possible, wait_for_mode


def test_what_one_process_published_alone_is_journaled_by_the_next(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """One process of a root is cut off, the other is not; no other root is there: nothing is lost, nothing doubled."""
    with make("a", redis_url=impatient(proxy.url)) as cut_off, make("a") as connected:
        cut_off.publish({"n": 0})
        proxy.refuse()
        proxy.cut()
        for number in range(1, 6):
            (cut_off if number % 2 else connected).publish({"n": number})
        assert cut_off.health()["mode"] == "degraded"
        connected.subscribe(lambda event: None)  # who delivers finds at a heartbeat what was not journaled
        with make("b", resync=True) as b:
            wait_until(lambda: numbers(b) == list(range(6)))
            proxy.accept()
            wait_for_mode(cut_off, "connected", wait_until)
            cut_off.publish({"n": 6})
            wait_until(lambda: numbers(b) == numbers(connected) == list(range(7)))
            assert log_bytes(b) == log_bytes(connected)


def test_a_root_that_went_its_own_way_is_refused_not_mixed(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """It published alone when it did not know of a root that had just joined: a person has to choose."""
    with make("a", redis_url=impatient(proxy.url)) as cut_off, make("a") as connected:
        cut_off.publish({"n": 0})
        proxy.refuse()
        proxy.cut()
        with make("b") as b:
            b.publish({"n": "of b"})
            store = connected._opened().store
            store.remembered.put("roots", b"{}")  # as if nobody here had heard of b
            for queue in (cut_off, connected):
                queue._opened().coordinator.roots._others = {}
            assert cut_off.publish({"n": "of a"}).id == 2
            for _ in range(2):
                with pytest.raises(QueueIdentityError, match="gone its own way: event 2"):
                    connected.publish({"n": "no"})
            assert "gone its own way" in str(connected.health()["reason"])
            assert numbers(connected) == [0, "of a"]
            assert b.publish({"n": "of b, too"}).id == 3
            assert numbers(b)[-2:] == ["of b", "of b, too"]


def test_a_reader_does_not_mix_either(make: Make, wait_until: Wait) -> None:
    """What the journal has behind an event that is another one here is not appended."""
    with make("a") as a, make("b") as b:
        publish_when_possible(a, {"n": 0}, wait_until, b)
        with a._opened().log.appending() as end:
            end.extend_locked([Entry(end.tail + 1, end.last_at + 1, b'"payload":{"n":"forged"}')])
        b.publish({"n": 1})
        b.publish({"n": 2})
        wait_until(lambda: a.count_events() == 2 and "gone its own way" in str(a.health()["reason"]))
        assert numbers(a) == [0, "forged"]
