"""A group whose server comes back with an older state: the roots know better."""

from __future__ import annotations

from collections import Counter

from eventy_sync.redis.server import RedisServer
from tests.faults.redis.groups import has_once
from tests.faults.redis.queues import Make, Wait, publish_when_possible


def test_what_was_handled_since_the_snapshot_is_not_handled_again(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """On whichever root it was; tokens that were given out since are not given out again for something else."""
    seen: list[int] = []
    with make("a") as a, make("b") as b:
        for queue in (a, b):
            queue.subscribe(lambda event: seen.append(event.id), group="work", from_index=1)
        a.publish_many([{}] * 50)
        for queue in (a, b):
            wait_until(has_once(queue, 50))
        server.command("SAVE")
        for number in range(50):
            (a if number % 2 else b).publish({})
        for queue in (a, b):
            wait_until(has_once(queue, 100))
        server.kill()
        server.start()
        publish_when_possible(a, {}, wait_until)
        tail = a.health()["tail"]
        for queue in (a, b):
            wait_until(has_once(queue, tail))
        assert Counter(seen) == Counter(range(1, tail + 1))
        results = a.search_results(limit=1000).items
        newest = max(each.token or 0 for each in results if each.event_id <= 100)
        assert all((each.token or 0) > newest for each in results if each.event_id == tail)
