"""Roots that are behind the journal, or that the journal was taken from, while they are open."""

from __future__ import annotations

import time

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait, log_bytes, numbers, publish_when_possible


def test_a_process_that_only_publishes_gets_what_the_journal_has_no_more(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Its publish is refused while that takes, and not for ever: nothing else in it would ask for the rest."""
    with make("a", journal_length=50) as a, make("b", journal_length=50) as b:
        a.subscribe(lambda event: None)
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        for start in range(2, 1002, 100):
            a.publish_many([{"n": number} for number in range(start, start + 100)])
        server.command("XTRIM", "eventy:orders:journal", "MAXLEN", "50")
        publish_when_possible(b, {"n": 1002}, wait_until)
        wait_until(lambda: numbers(a) == list(range(1003)))
        assert log_bytes(a) == log_bytes(b)


def test_a_publish_behind_a_journal_that_is_gone_does_not_wait_for_itself(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The missing events come from the other root within a second or two; no publish spins with the lock meanwhile."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        publish_when_possible(b, {"n": 0}, wait_until)
        publish_when_possible(a, {"n": 1}, wait_until)
        server.command("DEL", "eventy:orders:journal")
        started = time.monotonic()
        publish_when_possible(b, {"n": 2}, wait_until)
        assert time.monotonic() - started < 4
        wait_until(lambda: numbers(a) == numbers(b) == [0, 1, 2])


def test_large_events_come_page_by_page(make: Make, wait_until: Wait) -> None:
    """To a root that publishes behind them, and to one that opens: more than a reply to a publish may bring."""
    text = "x" * 4_000_000
    with make("a") as a, make("b") as b:
        publish_when_possible(b, {"n": 0}, wait_until)
        for number in range(1, 13):
            publish_when_possible(a, {"n": number, "text": text}, wait_until, b)
        assert b.publish({"n": 13}).id == 14
        with make("c", resync=True) as c:
            assert numbers(c) == list(range(14))
        assert numbers(a) == numbers(b) == list(range(14))
        assert log_bytes(a) == log_bytes(b)
