"""A server that is away or frozen: what still works, what is refused, and how all is whole again."""

from __future__ import annotations

import logging
import signal
import threading
import time

import pytest

from eventy_sync import CoordinationError, EventyError
from eventy_sync.redis import mode
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.queues import (
    Make,
    Queue,
    Wait,
    impatient,
    numbers,
    outcome,
    publish_when_possible,
    settle,
    wait_for_mode,
)


def test_without_a_server_a_root_that_is_alone_does_everything(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """Absent at the start, back later: whole again by itself."""
    server.stop()
    with make("a") as a:
        assert a.health()["mode"] == "degraded"
        assert [a.publish({"n": number}).id for number in range(3)] == [1, 2, 3]
        assert a.create_claim("x")
        server.start()
        wait_for_mode(a, "connected", wait_until)
        assert a.publish({"n": 3}).id == 4
        with make("b") as b:
            assert not b.create_claim("x")
            assert b.publish({"n": 4}).id == 5
        wait_until(lambda: numbers(a) == [0, 1, 2, 3, 4])


def test_a_server_that_is_lost_right_after_opening_is_logged(
    make: Make, server: RedisServer, wait_until: Wait, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interval between log lines, in which it happens, does not hide it for as long as it lasts."""
    monkeypatch.setattr(mode, "LOG_INTERVAL_SECONDS", 1.0)
    caplog.set_level(logging.INFO, mode.logger.name)

    def logged() -> list[str]:
        return [each.getMessage().split(":")[0] for each in caplog.records if each.name == mode.logger.name]

    with make("a") as a:
        assert logged() == [f"queue {a.name!r} is connected"]
        server.kill()
        a.publish({"n": 0})  # alone: it finds out, and goes on
        wait_until(lambda: logged()[1:] == [f"queue {a.name!r} is degraded"])


def test_with_other_roots_a_lost_server_refuses_what_is_unsafe(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """The error says since when and why; reading and delivering go on; then it is whole again."""
    with make("a") as a, make("b") as b:
        a.publish({"n": 0})
        b.publish({"n": 1})
        a.publish({"n": 2})
        server.kill()
        wait_until(lambda: a.health()["mode"] == "degraded" or publishes(a))
        with pytest.raises(CoordinationError, match=r"degraded since .*forget-root"):
            a.publish({"n": "no"})
        with pytest.raises(CoordinationError, match="the claim was not taken"):
            a.create_claim("x")
        assert numbers(a) == [0, 1, 2]
        server.start()
        wait_for_mode(a, "connected", wait_until)
        publish_when_possible(b, {"n": 3}, wait_until)
        publish_when_possible(a, {"n": 4}, wait_until)
        wait_until(lambda: numbers(a) == [0, 1, 2, 3, 4])


def publishes(queue: Queue) -> bool:
    try:
        queue.publish({"n": "no"})
    except CoordinationError:
        return False
    raise AssertionError("it was published without a server")


def test_a_frozen_server_holds_up_one_call_only(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Alone: the first publish takes the timeout, the next ones nothing; all are there when it thaws."""
    with make("a") as a:
        a.publish({"n": 0})
        server.freeze()
        started = time.monotonic()
        a.publish({"n": 1})
        assert time.monotonic() - started < 10
        started = time.monotonic()
        for number in range(2, 50):
            a.publish({"n": number})
        assert time.monotonic() - started < 2
        server.thaw()
        wait_for_mode(a, "connected", wait_until)
        a.publish({"n": 50})
        assert numbers(a) == list(range(51))
        with make("b") as b:
            assert b.publish({"n": 51}).id == 52


def test_many_threads_before_a_frozen_server_wait_together(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Not one after the other: they are refused, or told that it is unknown, when one timeout is over."""
    with make("a", redis_url=impatient(server.url)) as a, make("b") as b:
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        server.freeze()
        outcomes: list[str] = []
        threads = [threading.Thread(target=lambda: outcomes.append(outcome(a, {"n": "no"}))) for _ in range(20)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started < 5
        assert len(outcomes) == 20
        assert "published" not in outcomes
        server.thaw()


def test_a_queue_closes_in_time_before_a_frozen_server(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """With claims to give back, a monitor to end and a goodbye to say."""
    with make("b") as b:
        a = make("a", redis_url=impatient(server.url))
        a.open()
        a.subscribe(lambda event: None)
        publish_when_possible(a, {"n": 0}, wait_until)
        publish_when_possible(b, {"n": 1}, wait_until)
        assert all(a.create_claim(f"claim {number}") for number in range(20))
        server.freeze()
        started = time.monotonic()
        a.close()
        assert time.monotonic() - started < 8
        server.thaw()


# An exception that comes while redis-py connects leaves the socket to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_an_exception_in_the_middle_of_a_publish_breaks_nothing(
    make: Make, server: RedisServer, wait_until: Wait
) -> None:
    """A signal's handler raises while the reply is waited for: each event is there once or not at all."""

    class AlarmError(Exception):
        pass

    armed = threading.Event()

    def raise_alarm(*_: object) -> None:
        if armed.is_set():
            armed.clear()
            raise AlarmError

    before = signal.signal(signal.SIGALRM, raise_alarm)
    try:
        with Proxy(server.port, delay_seconds=0.02) as proxy, make("a", redis_url=proxy.url) as a, make("b") as b:
            b.subscribe(lambda event: None)
            publish_when_possible(a, {"n": 0}, wait_until)
            publish_when_possible(b, {"n": 1}, wait_until)
            interrupted = 0
            for number in range(2, 32):
                try:
                    armed.set()
                    signal.setitimer(signal.ITIMER_REAL, 0.001 * number)
                    a.publish({"n": number})
                    armed.clear()
                except AlarmError:
                    interrupted += 1
                except EventyError as exc:
                    assert "interrupted" in str(exc)  # noqa: PT017 - whatever else comes is a mistake
                    interrupted += 1
            assert interrupted > 5
            there = settle(a, b, wait_until)
            assert len(set(there)) == len(there)
            assert a.health()["mode"] == "connected"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
