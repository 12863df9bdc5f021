"""What a scrape says of a queue, as prometheus_client's own parser reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from eventy_sync import FileEventQueue, InvalidArgumentError
from eventy_sync.contrib.prometheus import QueueCollector, register, unregister
from eventy_sync.file.events import Events

Wait = Callable[..., None]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def queue(root: Path, registry: CollectorRegistry) -> Iterator[FileEventQueue[Any]]:
    """An open queue that is registered."""
    with FileEventQueue[Any](root, payload_type=dict) as queue:
        register(queue, registry)
        yield queue
    unregister(queue, registry)


def value(registry: CollectorRegistry, sample: str, **labels: str) -> float | None:
    """Return what is scraped; the label `queue` need not be given while there is one queue."""
    for family in parse(generate_latest(registry).decode()):
        for each in family.samples:
            if each.name == sample and labels.items() <= each.labels.items():
                return float(each.value)
    return None


def test_events_are_counted(queue: FileEventQueue[Any], registry: CollectorRegistry) -> None:
    """Published ones, and those that are kept."""
    assert value(registry, "eventy_events_published_total", queue="orders") == 0
    queue.publish({})
    queue.publish_many([{}, {}])
    assert value(registry, "eventy_events_published_total", queue="orders") == 3
    assert value(registry, "eventy_events") == 3
    assert value(registry, "eventy_up") == 1
    queue.reset()
    assert value(registry, "eventy_events_published_total") == 3
    assert value(registry, "eventy_events") == 0


def test_what_a_group_does_is_counted(queue: FileEventQueue[Any], registry: CollectorRegistry) -> None:
    """Results by outcome, lag, dead letters and handling times."""

    def handle(event: Any) -> None:
        if event.payload["n"] == 2:
            raise ValueError("no")

    queue.subscribe(handle, group="billing", max_attempts=1)
    value(registry, "eventy_up")  # handling times begin with the first scrape
    queue.publish_many([{"n": n} for n in range(5)])
    assert queue.wait_until_idle(20)
    assert value(registry, "eventy_results_total", outcome="success") == 4
    assert value(registry, "eventy_results_total", outcome="failure") == 1
    assert value(registry, "eventy_dead_letters", group="billing") == 1
    assert value(registry, "eventy_group_lag", group="billing") == 0
    handled = value(registry, "eventy_handle_seconds_count", group="billing")
    assert handled is not None
    assert handled >= 3  # those that are in runs; others follow when they have settled
    assert value(registry, "eventy_handle_seconds_bucket", group="billing", le="+Inf") == handled
    assert (value(registry, "eventy_handle_seconds_sum", group="billing") or 0) > 0


def test_lag_and_pause_are_told(queue: FileEventQueue[Any], registry: CollectorRegistry) -> None:
    """A group that is paused falls behind."""
    queue.subscribe(print, group="billing")
    queue.pause_group("billing")
    queue.publish_many([{}] * 7)
    assert value(registry, "eventy_group_lag", group="billing") == 7
    assert value(registry, "eventy_group_paused", group="billing") == 1


def test_claims_are_counted(queue: FileEventQueue[Any], registry: CollectorRegistry) -> None:
    """Those that are held."""
    queue.create_claim("a")
    queue.create_claim("b")
    queue.release_claim("a")
    assert value(registry, "eventy_claims") == 1


def test_the_mode_is_one_of_four(queue: FileEventQueue[Any], registry: CollectorRegistry) -> None:
    """The present one is 1, the others are 0."""
    modes = {name: value(registry, "eventy_mode", mode=name) for name in ("file", "connected", "degraded", "rejoining")}
    assert modes == {"file": 1, "connected": 0, "degraded": 0, "rejoining": 0}


def test_publishing_is_measured_from_the_registration_on(root: Path, registry: CollectorRegistry) -> None:
    """Each call once, a batch as one, through closing and opening; and not any more when it is unregistered."""
    queue = FileEventQueue[Any](root, payload_type=dict, name="measured")
    with queue:
        queue.publish({})
        register(queue, registry)
        queue.publish({})
        queue.publish_many([{}, {}])
        assert value(registry, "eventy_publish_seconds_count", queue="measured") == 2
    with queue:
        queue.publish({})
        assert value(registry, "eventy_publish_seconds_count", queue="measured") == 3
        seconds = value(registry, "eventy_publish_seconds_sum", queue="measured")
        assert seconds is not None
        assert 0 < seconds < 10
        collector = register(queue, registry)
        assert unregister(queue, registry)
        queue.publish({})
        assert not unregister(queue, registry)
        assert value(registry, "eventy_publish_seconds_count", queue="measured") is None
        collector.add(queue)
        assert value(registry, "eventy_publish_seconds_count", queue="measured") == 3


def test_a_queue_that_is_not_registered_runs_the_code_it_always_ran(root: Path) -> None:
    """Nothing stands between a call and its work, neither before nor after it was measured."""
    with FileEventQueue[Any](root, payload_type=dict) as queue:
        assert type(queue._opened().events) is Events
        collector = QueueCollector(queue)
        assert type(queue._opened().events) is not Events
        other = QueueCollector(queue)
        collector.remove(queue)
        assert type(queue._opened().events) is not Events
        other.remove(queue)
        assert type(queue._opened().events) is Events
        QueueCollector(queue, measures=False)
        assert type(queue._opened().events) is Events


def test_a_failed_publish_raises_as_ever(queue: FileEventQueue[Any], registry: CollectorRegistry) -> None:
    """And is not counted."""
    before = value(registry, "eventy_publish_seconds_count")
    with pytest.raises(ValueError):
        queue.publish("not a dict")
    assert value(registry, "eventy_publish_seconds_count") == before


def test_a_closed_queue_is_down(root: Path, registry: CollectorRegistry) -> None:
    """A registered queue that is not open does not keep the application's other metrics from being read."""
    Counter("shop_orders", "Orders.", registry=registry).inc()
    queue = FileEventQueue[Any](root, payload_type=dict)
    register(queue, registry)
    assert value(registry, "eventy_up", queue="orders") == 0
    assert value(registry, "eventy_events_published_total") is None
    assert value(registry, "shop_orders_total") == 1
    with queue:
        assert value(registry, "eventy_up", queue="orders") == 1
    assert value(registry, "eventy_up", queue="orders") == 0


def test_registering_reads_nothing(root: Path) -> None:
    """Not even the default registry, which asks what a collector has, makes a directory."""
    queue = FileEventQueue[Any](root, payload_type=dict)
    register(queue)
    unregister(queue)
    assert not root.exists()


def test_a_registry_takes_several_queues(tmp_path: Path, registry: CollectorRegistry) -> None:
    """Each metric stands there once, with a sample for each queue, in both formats."""
    with FileEventQueue[Any](tmp_path / "a") as first, FileEventQueue[Any](tmp_path / "b") as second:
        assert register(first, registry) is register(second, registry)
        first.publish(1)
        second.publish_many([1, 2])
        assert value(registry, "eventy_events_published_total", queue="a") == 1
        assert value(registry, "eventy_events_published_total", queue="b") == 2
        text = generate_openmetrics(registry).decode()
        names = [family.name for family in parse_openmetrics(text)]
        assert len(names) == len(set(names))
        assert {"eventy_up", "eventy_events_published", "eventy_handle_seconds", "eventy_publish_seconds"} <= set(names)
        assert "eventy_redis_round_trip_seconds_count" not in text


def test_two_queues_of_one_name_are_refused(tmp_path: Path, registry: CollectorRegistry) -> None:
    """The error says what to do; the same queue may be registered again."""
    queue = FileEventQueue[Any](tmp_path / "a")
    register(queue, registry)
    register(queue, registry)
    with pytest.raises(InvalidArgumentError, match=r"another queue 'a' is registered already.*name="):
        register(FileEventQueue[Any](tmp_path / "other" / "a"), registry)


def test_names_of_any_kind_are_told(tmp_path: Path, registry: CollectorRegistry) -> None:
    """Quotes and backslashes come back from the parser as they are."""
    name = 'a "b" \\ ü'
    with FileEventQueue[Any](tmp_path / "a", name=name) as queue:
        register(queue, registry)
        assert value(registry, "eventy_up", queue=name) == 1
