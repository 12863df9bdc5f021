"""A monitor that is cut off."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest

from eventy_sync.redis import monitor as monitors
from eventy_sync.redis.monitor import Monitor
from eventy_sync.redis.server import RedisServer
from eventy_sync.redis.server_address import make_pool
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import Make, Wait


def test_a_monitor_that_is_cut_off_misses_nothing(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """However often its connection is killed."""
    with make("a") as a, make("b") as b:
        seen: list[int] = []
        b.subscribe(lambda event: seen.append(event.id))
        for number in range(100):
            server.command("CLIENT", "KILL", "TYPE", "pubsub")
            a.publish({"n": number})
        wait_until(lambda: seen == list(range(1, 101)))


def test_a_connection_that_is_open_but_dead_is_replaced(
    server: RedisServer,
    proxy: Proxy,
    wait_until: Wait,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`listen()` waits for ever; who looks after it sees the silence, and each new subscription means a catch-up."""
    monkeypatch.setattr(monitors, "SILENCE_SECONDS", 0.2)
    caplog.set_level(logging.INFO)
    heard: list[bytes] = []
    subscribed: list[int] = []
    pool = make_pool(proxy.url, 0, None)
    monitor = Monitor("monitor", pool, "channel", lambda: subscribed.append(1), lambda data, _: heard.append(data))
    monitor.start()
    try:
        wait_until(lambda: subscribed)
        server.command("PUBLISH", "channel", "before")
        wait_until(lambda: heard == [b"before"])
        proxy.freeze()
        server.command("PUBLISH", "channel", "meanwhile")
        # in some versions of redis-py listen() itself may see it first
        wait_until(lambda: monitor.break_if_silent() or re.search("has been silent|interrupted", caplog.text))
        proxy.thaw()
        wait_until(lambda: monitor.break_if_silent() or len(subscribed) > 1)
        wait_until(lambda: server.command("PUBLISH", "channel", "after") and heard[-1:] == [b"after"])
    finally:
        monitor.stop()
        monitor.join(5)
        pool.disconnect()


def test_whoever_gets_a_message_can_ask_whether_more_has_arrived(server: RedisServer, wait_until: Wait) -> None:
    """Which is what tells one who lags from one who does not."""
    pool = make_pool(server.url, 0, None)
    subscribed: list[int] = []
    heard: list[tuple[bytes, bool]] = []

    def hear(data: bytes, has_more: Callable[[], bool]) -> None:
        if data == b"1":
            wait_until(has_more)
        heard.append((data, has_more()))

    monitor = Monitor("monitor", pool, "channel", lambda: subscribed.append(1), hear)
    assert not monitor._has_more()
    monitor.start()
    try:
        wait_until(lambda: subscribed)
        for number in range(1, 4):
            server.command("PUBLISH", "channel", str(number))
        wait_until(lambda: len(heard) == 3)
        assert heard[0] == (b"1", True)
        assert heard[-1] == (b"3", False)
    finally:
        monitor.stop()
        monitor.join(5)
        pool.disconnect()
