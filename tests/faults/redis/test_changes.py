"""Results and stored subscribers on their way from root to root."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from eventy_sync import Subscriber
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Queue, Wait, wait_for_mode


@dataclass
class Note(Subscriber[Any]):
    """A stored subscriber."""

    word: str

    def on_event(self, event: Any, event_queue: Any) -> str:
        return f"{self.word} {event.id}"


def test_stored_subscribers_and_results_reach_every_root(make: Make, wait_until: Wait) -> None:
    """Made on one, it runs on the other; each root has both results; removed on one, it ends on both."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: None)
        subscription = a.subscribe(Note("noted"))
        wait_until(lambda: len(b.search_subscriptions().items) == 2)
        wait_until(lambda: any(thread.name.endswith(subscription.id.hex[-6:]) for thread in threads_of(b)))
        a.publish({"n": 0})

        def noted(queue: Queue) -> int:
            return sum(result.details == "noted 1" for result in queue.search_results(event_id__eq=1).items)

        wait_until(lambda: noted(a) == noted(b) == 2)
        assert b.unsubscribe(subscription.id)
        wait_until(lambda: len(a.search_subscriptions().items) == 1)


def threads_of(queue: Queue) -> list[threading.Thread]:
    return threading.enumerate()


def test_changes_survive_a_server_that_forgets(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """What was told while it was away, and what it lost, is told again."""
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: None)
        b.subscribe(lambda event: None)
        server.kill()
        wait_for_mode(a, "degraded", wait_until)
        subscription = a.subscribe(Note("later"))
        server.start()
        wait_until(lambda: b.batch_get_subscriptions([subscription.id])[0] is not None)


def test_a_publish_that_joins_first_does_not_keep_subscriptions_from_being_told(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The server has lost them; the new epoch is learnt in passing, and what it asks for is done all the same."""
    with make("a") as a:
        subscription = a.subscribe(Note("early"))
        wait_until(lambda: server.command("XLEN", "eventy:orders:changes"))
        server.command("FLUSHALL")
        assert a.publish({"n": 0}).id == 1
        assert not server.command("XLEN", "eventy:orders:changes")
        with make("b") as b:
            b.subscribe(lambda event: None)
            wait_until(lambda: b.batch_get_subscriptions([subscription.id])[0] is not None)
