"""A group is removed where several roots know of it: it goes everywhere, and does not come back."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from eventy_sync import CoordinationError, GroupNotFoundError
from eventy_sync.redis.link import Script
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.groups import has_once
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Queue, Wait, impatient, publish_when_possible, wait_for_mode

REMOVE = Script("remove_group").sha


def make_group(a: Queue, b: Queue, wait_until: Wait) -> None:
    """Let the group "work" have handled events 1 to 3 on the root a, which runs it no more; event 4 is nobody's.

    Both have all of them at the end: a root that went on without another's last event would be refused.
    """
    b.subscribe(lambda event: None)
    subscription = a.subscribe(lambda event: None, group="work", from_index=1)
    a.publish_many([{}] * 3)
    for queue in (a, b):
        wait_until(has_once(queue, 3))
    a.unsubscribe(subscription.id)
    wait_until(lambda: b.groups()[0].next_id == 4 and oldest_unfinished(b) == 4)
    a.publish({})
    wait_until(lambda: b.count_events() == 4)


def oldest_unfinished(queue: Queue) -> int | None:
    """Return the first event that retention must not drop."""
    return queue._opened().coordinator.leases.oldest_unfinished()


def is_gone(*queues: Queue) -> bool:
    """Return whether no root knows the group, or keeps events for it."""
    known = [queue._opened().store.groups.info(0) for queue in queues]
    return not any(known) and all(queue.groups() == [] and oldest_unfinished(queue) is None for queue in queues)


def test_all_roots_forget_it(make: Make, wait_until: Wait) -> None:
    """Those that are there hear of it at once; results stay."""
    with make("a") as a, make("b") as b:
        make_group(a, b, wait_until)
        b.remove_group("work")
        wait_until(lambda: is_gone(a, b))
        with pytest.raises(GroupNotFoundError, match="no group 'work'"):
            a.remove_group("work")
        for queue in (a, b):
            assert has_once(queue, 3)()


@pytest.mark.parametrize("loss", ["nothing", "changes", "everything"])
def test_a_root_that_was_away_does_not_bring_it_back(
    make: Make, server: RedisServer, wait_until: Wait, loss: str
) -> None:
    """It hears of the removal when it joins, whatever the server has kept of it."""
    with make("a") as a:
        with make("b") as b:
            make_group(a, b, wait_until)
        a.remove_group("work")
        if loss == "everything":
            server.command("FLUSHALL")
        elif loss == "changes":
            server.command("DEL", "eventy:orders:changes")
        with make("b") as b:
            b.subscribe(lambda event: None)
            publish_when_possible(a, {}, wait_until, b)
            wait_until(lambda: is_gone(a, b))
    with make("b") as b:
        assert is_gone(b)


def test_a_server_that_comes_back_with_an_older_state_does_not_bring_it_back(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The roots know better."""
    with make("a") as a, make("b") as b:
        make_group(a, b, wait_until)
        server.command("SAVE")
        a.remove_group("work")
        wait_until(lambda: is_gone(a, b))
        server.kill()
        server.start()
        publish_when_possible(b, {}, wait_until)
        wait_until(lambda: a.health()["mode"] == b.health()["mode"] == "connected" and is_gone(a, b))


def test_where_all_roots_that_know_were_forgotten_it_is_back_until_one_joins(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The server has lost everything, and the root that joins first was away when the group was removed."""
    with make("a") as a:
        with make("b") as b:
            make_group(a, b, wait_until)
        a.remove_group("work")
    server.command("FLUSHALL")
    with make("b") as b:
        b.subscribe(lambda event: None)
        for root in b.roots():
            b.forget_root(root.root_id)
        publish_when_possible(b, {}, wait_until)
        assert [each.name for each in b.groups()] == ["work"]
        with make("a") as a:
            wait_until(lambda: is_gone(a, b))


def test_a_removal_whose_reply_is_lost_has_happened(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """The error says that nobody can know; both roots forget the group by themselves."""
    with make("a", redis_url=impatient(proxy.url)) as a, make("b") as b:
        make_group(a, b, wait_until)
        with pytest.raises(GroupNotFoundError):
            a.remove_group("other")  # the server knows no script of this yet
        a._opened().coordinator._asking.run(Script("remove_group"), ["none"] * 10, [""] * 7)  # type: ignore[attr-defined]
        proxy.lose_reply(REMOVE)
        with pytest.raises(CoordinationError, match="whether it was done is unknown"):
            a.remove_group("work")
        wait_for_mode(a, "connected", wait_until)
        wait_until(lambda: is_gone(a, b))


def test_without_the_server_a_root_that_knows_of_others_refuses(make: Make, proxy: Proxy, wait_until: Wait) -> None:
    """Nothing has changed afterwards."""
    with make("a", redis_url=proxy.url) as a, make("b") as b:
        make_group(a, b, wait_until)
        wait_until(lambda: a.health()["other_roots"] == 1)
        proxy.refuse()
        wait_until(lambda: a.groups() and a.health()["mode"] != "connected")
        with pytest.raises(CoordinationError, match="the group was not removed"):
            a.remove_group("work")
        proxy.accept()
        wait_for_mode(a, "connected", wait_until)
        assert [each.name for each in a.groups()] == [each.name for each in b.groups()] == ["work"]


@pytest.mark.parametrize("loses", [False, True])
def test_a_root_that_is_alone_removes_it_without_the_server(
    make: Make, server: RedisServer, wait_until: Wait, loses: bool
) -> None:
    """The server hears of it afterwards, also one that has kept the group."""
    server_is_kept = not loses
    with make("a") as a:
        subscription = a.subscribe(lambda event: None, group="work", from_index=1)
        a.publish_many([{}] * 3)
        wait_until(has_once(a, 3))
        a.unsubscribe(subscription.id)
        if server_is_kept:
            server.command("SAVE")
        server.kill()
        a.publish({})
        wait_for_mode(a, "degraded", wait_until)
        a.remove_group("work")
        assert is_gone(a)
        server.start()
        wait_for_mode(a, "connected", wait_until)
        assert is_gone(a)
    assert server.command("SMEMBERS", "eventy:orders:groups") in ([], set())


def test_a_worker_that_is_left_on_another_root_does_not_bring_it_back(make: Make, wait_until: Wait) -> None:
    """It gets nothing, rather than all from where it began; once the group is made anew it takes its part again."""
    seen: list[int] = []
    with make("a") as a, make("b") as b:
        a.subscribe(lambda event: seen.append(event.id), group="work", from_index=1)
        b.subscribe(lambda event: None)
        a.publish_many([{}] * 3)
        wait_until(lambda: len(seen) == 3 and b.groups()[0].lag == 0)
        b.remove_group("work")
        b.publish({})
        wait_until(lambda: a.health()["tail"] == 4)
        threading.Event().wait(0.5)  # it looks, and finds nothing
        assert seen == [1, 2, 3]
        wait_until(lambda: is_gone(a, b))
        b.subscribe(lambda event: seen.append(event.id), group="work")
        for _ in range(20):
            b.publish({})
        wait_until(lambda: sorted(seen[3:]) == list(range(5, 25)))
        assert b.wait_until_idle(10)


def test_what_the_next_group_of_the_name_has_done_is_not_lost_with_the_server(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Also by a worker that has known the former one: nothing is handled twice, and tokens grow."""
    seen = Counter[int]()

    def handle(event: Any) -> None:
        seen[event.id] += 1

    with make("a") as a, make("b") as b:
        a.subscribe(handle, group="work", from_index=1)
        b.subscribe(lambda event: None)
        a.publish_many([{}] * 3)
        wait_until(lambda: sum(seen.values()) == 3 and b.groups()[0].lag == 0)
        b.remove_group("work")
        b._opened().coordinator.leases.begin("work", 1)
        a.publish_many([{}] * 3)
        wait_until(lambda: seen == {1: 2, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1})
        wait_until(lambda: b.groups()[0].lag == 0 and b._opened().store.mirror.unfinished("work", 6) == [])
        server.command("FLUSHALL")
        publish_when_possible(b, {}, wait_until)
        wait_until(lambda: seen[b.health()["tail"]] == 1 and b.groups()[0].lag == 0)
        assert [seen[each] for each in range(1, 7)] == [2, 2, 2, 1, 1, 1]
        results = sorted(a.search_results(group__eq="work", limit=1000).items, key=lambda each: each.created_at)
        tokens = [each.token or 0 for each in results]
        assert tokens == sorted(tokens)
