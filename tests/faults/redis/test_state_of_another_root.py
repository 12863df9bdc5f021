"""What a root has missed of results and subscriptions comes from another one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest

from eventy_sync import Subscriber
from eventy_sync.redis import changes
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Queue, Wait, publish_when_possible, wait_for_mode


@dataclass
class Tagger(Subscriber[Any]):
    """A stored subscriber."""

    tag: str

    def on_event(self, event: Any, event_queue: Any) -> str:
        return f"{self.tag} {event.id}"


def results_of(queue: Queue, event_id: int) -> set[tuple[Any, str | None]]:
    return {(result.worker_id, result.details) for result in queue.search_results(event_id__eq=event_id).items}


def tags(queue: Queue) -> list[str]:
    return sorted(each.subscriber.tag for each in queue.search_subscriptions().items if each.stored)


def test_a_new_root_that_asks_for_all_gets_results_and_subscriptions(make: Make, wait_until: Wait) -> None:
    """With `resync=True`, whatever has been trimmed from the stream of changes meanwhile."""
    with make("a", journal_length=10) as a:
        a.subscribe(Tagger("kept"))
        gone = a.subscribe(Tagger("gone"))
        a.publish_many([{"n": number} for number in range(300)])
        assert a.wait_until_idle(20)
        assert a.unsubscribe(gone.id)
        wait_until(lambda: not a._opened().store.outbox.first(1))
        with make("b", resync=True) as b:
            assert [event.payload["n"] for event in b.iter_events()] == list(range(300))
            assert b.count_results() == a.count_results() == 600
            assert results_of(b, 7) == {(a.worker_id, "kept 7"), (a.worker_id, "gone 7")}
            assert tags(b) == ["kept"]


def test_a_root_that_missed_changes_gets_them_in_the_background(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The stream no longer has them; delivery and publishing go on meanwhile."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: "seen")
        publish_when_possible(b, {"n": 0}, wait_until, a)
        wait_until(lambda: a.count_results() == 1 and not a._opened().store.outbox.first(1))
        b.close()
        subscription = a.subscribe(Tagger("missed"))
        wait_until(lambda: not a._opened().store.outbox.first(1))
        server.command("XTRIM", "eventy:orders:changes", "MAXLEN", 0)
        a.subscribe(Tagger("heard"))
        wait_until(lambda: server.command("XLEN", "eventy:orders:changes") == 1)
        b.open()
        b.subscribe(lambda event: None)
        wait_until(lambda: tags(b) == ["heard", "missed"])
        assert b.batch_get_subscriptions([subscription.id])[0] is not None
        wait_until(lambda: b.count_results() == 1)


def test_results_that_a_server_forgot_on_their_way_arrive_all_the_same(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """One root was not there when they were told, and then the server was emptied."""
    with make("a") as a:
        a.subscribe(lambda event: "done")
        with make("b") as b:
            publish_when_possible(b, {"n": 0}, wait_until, a)
            b.subscribe(lambda event: None)
        a.publish({"n": 1})
        wait_until(lambda: a.count_results() >= 2 and not a._opened().store.outbox.first(1))
        server.command("FLUSHALL")
        with make("b") as b:
            b.subscribe(lambda event: None)
            wait_until(lambda: (a.worker_id, "done") in results_of(b, 2))


def test_a_subscription_that_was_removed_is_not_brought_back_by_who_has_not_heard(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """A root was away when it was removed, and tells of all it knows in a new epoch."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        subscription = a.subscribe(Tagger("once"))
        b.subscribe(lambda event: None)
        wait_until(lambda: tags(b) == ["once"])
        b.close()
        assert a.unsubscribe(subscription.id)
        server.command("FLUSHALL")
        wait_until(lambda: server.command("EXISTS", "eventy:orders:meta") == 1)
        b.open()
        b.subscribe(lambda event: None)
        wait_until(lambda: tags(b) == [])
        publish_when_possible(b, {"n": 0}, wait_until, a)
        wait_until(lambda: results_of(a, 1) == results_of(b, 1) and len(results_of(a, 1)) == 2)
        assert tags(a) == []


def test_where_nobody_answers_it_is_said_and_forgotten(
    make: Make, server: RedisServer, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """The other root has nobody who delivers: a warning after the timeout, and everything goes on."""
    caplog.set_level(logging.WARNING)
    with make("a") as a, make("b", resync_lock_timeout_seconds=0.3) as b:
        publish_when_possible(a, {"n": 0}, wait_until, b)
        b.close()
        a._opened().store.subscriptions.tell_all()
        server.command("XADD", "eventy:orders:changes", "5-0", "r", "x", "k", "results", "b", "[]")
        b.open()
        b.subscribe(lambda event: None)
        wait_until(lambda: "results of other roots may be missing" in caplog.text)
        assert b.health()["mode"] == "connected"
        publish_when_possible(b, {"n": 1}, wait_until, a)


def test_changes_are_numbered_on_whatever_is_lost(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """The number of the last one, the stream, or both."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: None)
        for number, lost in enumerate(["", "stream", "number", "both"]):
            if lost in ("stream", "both"):
                server.command("DEL", "eventy:orders:changes")
            if lost in ("number", "both"):
                server.command("HDEL", "eventy:orders:meta", "changes")
            a.subscribe(Tagger(f"{number} {lost}"))
            wait_until(lambda: tags(a) == tags(b))
        wait_for_mode(b, "connected", wait_until)
        assert len(tags(b)) == 4


def test_many_changes_go_in_batches(make: Make, wait_until: Wait) -> None:
    """More than are told at once."""
    with make("a") as a, make("b") as b:
        b.subscribe(lambda event: None)
        for number in range(2 * changes._AT_ONCE + 5):
            a.subscribe(Tagger(str(number)))
        wait_until(lambda: b.count_subscriptions() == 1 + 2 * changes._AT_ONCE + 5)
