"""Workers of a group that have nothing to do, or cannot go on: they are told when they can."""

from __future__ import annotations

import threading

import pytest

from eventy_sync.delivery import group_thread
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Wait, wait_for_mode

pytestmark = pytest.mark.usefixtures("_patient")


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no worker look by itself."""
    for name in ("IDLE_SECONDS", "ERROR_PAUSE_SECONDS"):
        monkeypatch.setattr(group_thread, name, 600.0)


@pytest.mark.parametrize("root", ["a", "b"])
def test_a_worker_hears_that_another_process_lets_its_group_go_on(make: Make, wait_until: Wait, root: str) -> None:
    """Or has its dead letters requeued; of its own root or of another."""
    seen: list[int] = []

    def fail_once(event: object) -> None:
        seen.append(event.id)  # type: ignore[attr-defined]
        if len(seen) == 1:
            raise ValueError("not yet")

    with make("a") as a, make(root) as other:
        a.subscribe(fail_once, group="work", from_index=1, max_attempts=1)
        other.pause_group("work")
        other.publish({})
        wait_until(lambda: a.groups()[0].lag == 1 and a.health()["tail"] == 1)
        other.resume_group("work")
        wait_until(lambda: a.groups()[0].dead == 1)
        assert other.requeue("work") == 1
        wait_until(lambda: seen == [1, 1])


@pytest.mark.parametrize("fetches", [False, True])
def test_a_worker_goes_on_as_soon_as_its_root_is_back_among_the_others(
    make: Make,
    server: RedisServer,
    proxy: Proxy,
    wait_until: Wait,
    caplog: pytest.LogCaptureFixture,
    fetches: bool,
) -> None:
    """Until then, and while it fetches events from another root, it hands nothing out."""
    seen: list[int] = []
    is_open = threading.Event()

    def handle(event: object) -> None:
        if not seen:
            assert is_open.wait(30)
        seen.append(event.id)  # type: ignore[attr-defined]

    with make("a", redis_url=proxy.url, journal_length=100) as a, make("b", journal_length=100) as b:
        b.subscribe(lambda event: None)
        a.subscribe(handle, group="work", from_index=1)
        b.publish_many([{}] * 2)
        wait_until(lambda: a.groups()[0].leased == 1 and a.health()["other_roots"] == 1)
        proxy.refuse()
        wait_for_mode(a, "degraded", wait_until)
        is_open.set()
        wait_until(lambda: "group cannot go on" in caplog.text)
        if fetches:
            for _ in range(5):
                b.publish_many([{}] * 500)
            server.command("SET", "eventy:orders:resync_lock", "abc", "PX", 1000)  # somebody else fetches first
        proxy.accept()
        if fetches:
            wait_for_mode(a, "rejoining", wait_until)
            assert seen == [1]
        wait_until(lambda: 2 in seen)
        assert a.health()["mode"] == "connected"
