"""What metrics say of a queue that Redis coordinates, while the server is there and while it is not."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse

from eventy_sync.contrib.prometheus import register, unregister
from eventy_sync.redis.server import RedisServer
from tests.faults.redis.queues import Make, Wait, impatient, publish_when_possible

SERVE = """
    import sys
    from eventy_sync.cli import main
    main(["metrics", *sys.argv[1:]])
"""


def samples(text: str) -> dict[str, float]:
    """Return the samples, by name and labels other than the queue's."""
    return {
        " ".join([each.name, *(value for name, value in each.labels.items() if name != "queue")]): each.value
        for family in parse(text)
        for each in family.samples
    }


def modes(found: dict[str, float]) -> list[str]:
    """Return the modes that it is said to be in."""
    return [name.split()[1] for name, value in found.items() if name.startswith("eventy_mode ") and value == 1]


def test_the_mode_follows_a_server_that_is_killed(make: Make, server: RedisServer, wait_until: Wait) -> None:
    """Connected, degraded, connected again; a scrape is answered all the time, and counts what was published alone."""
    registry = CollectorRegistry()

    def scrape() -> dict[str, float]:
        return samples(generate_latest(registry).decode())

    with make("a", redis_url=impatient(server.url)) as a:
        register(a, registry)
        a.publish({"n": 1})
        a.create_claim("x")
        found = scrape()
        assert (modes(found), found["eventy_events_published_total"], found["eventy_claims"]) == (["connected"], 1, 1)
        server.kill()
        wait_until(lambda: modes(scrape()) == ["degraded"])
        a.publish({"n": 2})
        found = scrape()
        assert (found["eventy_up"], found["eventy_events_published_total"], found["eventy_claims"]) == (1, 2, 1)
        server.start()
        wait_until(lambda: modes(scrape()) == ["connected"])
        unregister(a, registry)


def test_what_other_roots_publish_is_told(make: Make, wait_until: Wait) -> None:
    """Each root's process is right for the whole queue."""
    registry = CollectorRegistry()
    with make("a") as a, make("b") as b:
        register(b, registry)
        for number in range(5):
            publish_when_possible(a, {"n": number}, wait_until, b)
        wait_until(lambda: samples(generate_latest(registry).decode())["eventy_events_published_total"] == 5)
        unregister(b, registry)


def test_round_trips_are_measured_once_registered(make: Make) -> None:
    """Each publish is one; nothing is measured before."""
    registry = CollectorRegistry()

    with make("a", name="trips") as a:
        a.publish({"n": 0})
        links = a._coordinator()._publishing, a._coordinator()._asking
        assert [each.on_answer for each in links] == [None, None]
        collector = register(a, registry)
        name = "eventy_redis_round_trip_seconds_count"
        assert name not in _measured(collector)
        a.publish({"n": 0})
        before = _measured(collector)[name]
        for number in range(20):
            a.publish({"n": number})
        after = _measured(collector)[name]
        assert after - before == 20
        seconds = _measured(collector)["eventy_redis_round_trip_seconds_sum"]
        assert 0 < seconds < 20
        assert unregister(a, registry)
        assert [each.on_answer for each in links] == [None, None]
    again = make("a", name="trips")
    register(again, registry)
    with again:
        assert _measured(collector)[name] > after  # joining asks Redis, and a queue is measured from when it opens


def _measured(collector: Any) -> dict[str, float]:
    """Return what was measured, without a scrape, which asks Redis itself."""
    return {each.name: each.value for metric in collector._measured(["trips"]) for each in metric.samples}


def test_the_command_tells_the_mode_of_a_server_that_is_killed(
    make: Make, server: RedisServer, spawn_python: Callable[..., Any], wait_until: Wait
) -> None:
    """A root that has joined is watched with its server; the command outlives it, and ends when it is told to."""
    with make("a") as a:
        a.publish({"n": 1})
        root = Path(a.root_dir)
    served = spawn_python(SERVE, "--root-dir", root, "--port", 0, "--redis-url", impatient(server.url))
    found = re.search(r"at (http://\S+);", served.stderr.readline())
    assert found

    def scrape() -> dict[str, float]:
        with urllib.request.urlopen(found[1], timeout=20) as answer:
            return samples(answer.read().decode())

    assert modes(scrape()) == ["connected"]
    server.kill()
    wait_until(lambda: modes(scrape()) == ["degraded"])
    server.start()
    wait_until(lambda: modes(scrape()) == ["connected"])
    os.kill(served.pid, signal.SIGTERM)
    _, errors = served.communicate(timeout=20)
    assert served.returncode == 0
    assert errors.endswith("stopped\n")
