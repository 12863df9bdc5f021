"""What the journal no longer holds comes from another root, or is written down as lost."""

from __future__ import annotations

import threading
from typing import Any

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Wait, log_bytes, numbers, publish_when_possible, wait_for_mode


def test_a_root_behind_the_journal_gets_the_rest_from_another(make: Make, wait_until: Wait) -> None:
    """Byte for byte; the peer must be one that delivers, for only those listen."""
    with make("a", journal_length=100) as a:
        a.subscribe(lambda event: None)
        with make("b") as b:
            b.publish({"n": 0})
        for start in range(1, 5000, 500):
            a.publish_many([{"n": number} for number in range(start, start + 500)])
        with make("b") as b:
            assert b.health()["mode"] == "connected"
            assert numbers(b) == list(range(5001))
            assert b.publish({"n": 5001}).id == 5002
        wait_until(lambda: log_bytes(a) == log_bytes(b))


def test_a_new_root_gets_everything_if_it_asks(make: Make) -> None:
    """`resync=True`; also what another root has under retention."""
    with make("a", journal_length=10) as a:
        a.subscribe(lambda event: None)
        a.publish_many([{"n": number} for number in range(1000)])
        with make("b", resync=True) as b:
            assert numbers(b) == list(range(1000))
            assert log_bytes(a) == log_bytes(b)


def test_what_no_root_has_is_written_down_as_lost(make: Make, server: RedisServer, caplog: Any) -> None:
    """After the timeout, as an ERROR; delivery goes on behind it."""
    with make("a") as a:
        a.publish_many([{"n": number} for number in range(5)])
    with make("b") as b:
        b.publish({"n": 5})  # b began behind what a has
        b.publish_many([{"n": number} for number in range(6, 300)])
    server.command("XTRIM", "eventy:orders:journal", "MINID", "300-0")
    with make("a", resync_lock_timeout_seconds=0.5) as a:
        assert "events lost: first_id=6 last_id=299" in caplog.text
        assert a.publish({"n": 300}).id == 301
        assert numbers(a) == [0, 1, 2, 3, 4, 299, 300]
        assert a.verify().damages == []


def test_a_root_that_is_behind_again_by_the_time_it_has_caught_up_opens_all_the_same(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Others publish faster than it learns what it has lost: it goes on with that while it is open."""
    with make("b"):
        pass  # so that there is somebody to ask
    with make("a") as a:
        a.publish_many([{"n": number} for number in range(5)])
    server.command("INCRBY", "eventy:orders:next_event_id", 5)

    def give_out_more() -> None:
        wait_until(lambda: server.command("EXISTS", "eventy:orders:resync_lock"))
        server.command("INCRBY", "eventy:orders:next_event_id", 5)

    thread = threading.Thread(target=give_out_more)
    thread.start()
    try:
        with make("a", resync_lock_timeout_seconds=0.5) as a:
            wait_for_mode(a, "connected", wait_until)
            assert a.stats()["tail"] == 15
            publish_when_possible(a, {"n": 15}, wait_until)
            assert a.stats()["tail"] == 16
    finally:
        thread.join()


def test_a_root_that_has_less_lets_another_one_answer(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """However much sooner it hears of the request: what it lacks would be taken for lost."""
    with Proxy(server.port, delay_seconds=0.05) as slow, make("whole", redis_url=slow.url, journal_length=10) as whole:
        publish_when_possible(whole, {"n": 0}, wait_until)
        with make("part", journal_length=10) as part:
            for each in (whole, part):
                each.subscribe(lambda event: None)
            for start in range(1, 1001, 200):
                whole.publish_many([{"n": number} for number in range(start, start + 200)])
                wait_until(lambda start=start: part.health()["tail"] == start + 200)
            with make("new", resync=True) as new:
                assert numbers(new) == list(range(1001))
