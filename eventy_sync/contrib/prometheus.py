"""Metrics for Prometheus: a collector that reads a queue's state whenever it is scraped.

What all processes of a root share is read from the root, so whichever process is scraped gives the same numbers.
What a process does itself, publishing and asking Redis, is measured in it from when its queue is registered on.
Nothing is measured for a queue that is not, and no port is bound here.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Histogram, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError:
    raise ImportError(
        'eventy_sync.contrib.prometheus needs prometheus_client: pip install "eventy-sync[prometheus]"'
    ) from None

from eventy_sync.errors import EventyError, InvalidArgumentError
from eventy_sync.file import AbstractFileEventQueue
from eventy_sync.file.readings import Readings, take_readings
from eventy_sync.storage.state import BOUNDS_SECONDS, HandlingTime

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

__all__ = ["QueueCollector", "register", "serve", "unregister"]

logger = logging.getLogger(__name__)

MODES = ("file", "connected", "degraded", "rejoining")

_IS_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ
"""Prometheus' client sums up the histograms of all processes by itself, in files; it looks when it is imported, too."""

_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)

# one of each in a process, as the client wants it; they are in no registry but by way of a collector
_PUBLISH = Histogram(
    "eventy_publish_seconds",
    "How long publish() and publish_many() took in this process.",
    ["queue"],
    registry=None,
    buckets=_BUCKETS,
)
_ROUND_TRIP = Histogram(
    "eventy_redis_round_trip_seconds",
    "How long Redis took to answer a command of this process.",
    ["queue"],
    registry=None,
    buckets=_BUCKETS,
)


class _Histograms:
    """The `Meter` of one queue."""

    def __init__(self, name: str) -> None:
        self.published = _PUBLISH.labels(name).observe
        self._name = name
        self._observe: Any = None

    def asked_redis(self, seconds: float) -> None:
        """Observe a round trip; a queue that never asks Redis has no such histogram."""
        if self._observe is None:
            self._observe = _ROUND_TRIP.labels(self._name).observe
        self._observe(seconds)


_measuring: WeakKeyDictionary[AbstractFileEventQueue[Any], int] = WeakKeyDictionary()
_measuring_lock = threading.Lock()


def _begin_to_measure(queue: AbstractFileEventQueue[Any]) -> None:
    """Measure this queue for one collector more."""
    with _measuring_lock:
        if queue not in _measuring:
            queue._measure(_Histograms(str(queue.name)))
        _measuring[queue] = _measuring.get(queue, 0) + 1


def _end_measuring(queue: AbstractFileEventQueue[Any]) -> None:
    with _measuring_lock:
        _measuring[queue] -= 1
        if not _measuring[queue]:
            del _measuring[queue]
            queue._measure(None)


class QueueCollector(Collector):
    """Reads queues when it is scraped.  Thread safe.

    A queue need not be open, nor stay so: one that is closed, or cannot be read, has ``eventy_up`` 0 and nothing else.

    Arguments:
        queue: the first of them; `add` takes more.
        measures: whether what this process itself does is measured, too.
    """

    def __init__(self, queue: AbstractFileEventQueue[Any] | None = None, *, measures: bool = True) -> None:
        self._measures = measures
        self._lock = threading.Lock()
        # guarded by _lock, and replaced rather than changed
        self._queues: dict[str, AbstractFileEventQueue[Any]] = {}
        if queue is not None:
            self.add(queue)

    def add(self, queue: AbstractFileEventQueue[Any]) -> None:
        """Read this queue, too; does nothing if it is read already.

        Raises:
            InvalidArgumentError: another queue of that name is read already.
        """
        name = str(queue.name)
        with self._lock:
            if self._queues.get(name, queue) is not queue:
                raise InvalidArgumentError(
                    f"another queue {name!r} is registered already: its metrics would be the same; "
                    "unregister it, or give one of them another name="
                )
            if name not in self._queues and self._measures:
                _begin_to_measure(queue)
            self._queues = {**self._queues, name: queue}

    def remove(self, queue: AbstractFileEventQueue[Any]) -> bool:
        """Read this queue no more, and, for this collector, measure nothing in it; False if it was not read."""
        with self._lock:
            names = [name for name, each in self._queues.items() if each is queue]
            self._queues = {name: each for name, each in self._queues.items() if each is not queue}
            if names and self._measures:
                _end_measuring(queue)
            return bool(names)

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values: nothing is read when the collector is registered."""
        return [*_Families().all(), *self._measured({})]

    def collect(self) -> Iterable[Metric]:
        """Read all queues."""
        families, queues = _Families(), self._queues
        for name, queue in queues.items():
            try:
                families.add(name, take_readings(queue))
            except EventyError as exc:
                families.up.add_metric([name], 0)
                logger.warning("no metrics: queue=%r error=%s", name, exc)
        return [*families.all(), *self._measured(queues)]

    def _measured(self, queues: Iterable[str] | dict[str, Any]) -> Iterator[Metric]:
        if not self._measures or _IS_MULTIPROCESS:
            return
        for histogram in (_PUBLISH, _ROUND_TRIP):
            for metric in histogram.collect():
                metric.samples = [each for each in metric.samples if each.labels["queue"] in queues]
                yield metric


class _Families:
    """The metrics of one scrape."""

    def __init__(self) -> None:
        self.up = _gauge("up", "1 if the queue is open and can be read, else 0.")
        self._mode = _gauge("mode", "1 for the mode in which the queue is towards Redis, 0 for the others.", "mode")
        self._published = _counter("events_published", "Events published, by all processes and roots.")
        self._events = _gauge("events", "Events in the log, that retention has left.")
        self._results = _counter("results", "Runs of handlers in all processes, by how they ended.", "outcome")
        self._claims = _gauge("claims", "Claims that are held.")
        self._lag = _gauge("group_lag", "Events that the group has not finished.", "group")
        self._leased = _gauge("group_leased", "Events of the group that workers have in hand.", "group")
        self._waiting = _gauge("group_waiting", "Events of the group that wait to be handled again.", "group")
        self._paused = _gauge("group_paused", "1 if the group pauses, else 0.", "group")
        self._dead = _gauge("dead_letters", "Events that the group has given up.", "group")
        self._handling = HistogramMetricFamily(
            "eventy_handle_seconds", "How long handlers took, in all processes.", labels=["queue", "group"]
        )

    def all(self) -> list[Metric]:
        """Return them in the order in which they were made."""
        return list(vars(self).values())

    def add(self, queue: str, readings: Readings) -> None:
        """Take in what was read of one queue."""
        self.up.add_metric([queue], 1)
        for mode in MODES:
            self._mode.add_metric([queue, mode], mode == readings.mode)
        self._published.add_metric([queue], readings.tail)
        self._events.add_metric([queue], readings.kept)
        self._results.add_metric([queue, "success"], readings.successes)
        self._results.add_metric([queue, "failure"], readings.failures)
        self._claims.add_metric([queue], readings.claims)
        for group in readings.groups:
            labels = [queue, group.name]
            self._lag.add_metric(labels, group.lag)
            self._leased.add_metric(labels, group.leased)
            self._waiting.add_metric(labels, group.waiting)
            self._paused.add_metric(labels, group.paused)
            self._dead.add_metric(labels, group.dead)
        for name, times in readings.handling_times.items():
            self._handling.add_metric([queue, name], _buckets(times), times.sum_seconds)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"eventy_{name}", text, labels=["queue", *labels])


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"eventy_{name}", text, labels=["queue", *labels])


def _buckets(times: HandlingTime) -> list[tuple[str, float]]:
    counted = zip(BOUNDS_SECONDS, times.counts, strict=True)
    return [*((str(bound), float(count)) for bound, count in counted), ("+Inf", float(times.count))]


_collectors: WeakKeyDictionary[CollectorRegistry, QueueCollector] = WeakKeyDictionary()
_collectors_lock = threading.Lock()


def register(queue: AbstractFileEventQueue[Any], registry: CollectorRegistry = REGISTRY) -> QueueCollector:
    """Have a registry tell of this queue; a registry has one collector for all queues, which is returned.

    The queue need not be open yet.  Call it once in each process, or before it forks.  Thread safe.

    Raises:
        InvalidArgumentError: another queue of that name is registered already.
    """
    with _collectors_lock:
        if (collector := _collectors.get(registry)) is None:
            collector = QueueCollector()
            registry.register(collector)
            _collectors[registry] = collector
    collector.add(queue)
    return collector


def unregister(queue: AbstractFileEventQueue[Any], registry: CollectorRegistry = REGISTRY) -> bool:
    """Have a registry tell of this queue no more; False if it did not.  Thread safe."""
    with _collectors_lock:
        collector = _collectors.get(registry)
    return collector is not None and collector.remove(queue)


def serve(collector: QueueCollector, port: int, address: str = "127.0.0.1") -> tuple[WSGIServer, threading.Thread]:
    """Serve what this collector has, and nothing else, over HTTP; return the server and the thread that it runs in.

    Port 0 is any free one.  End it with the server's ``shutdown()`` and ``server_close()``.

    Raises:
        OSError: the address cannot be listened on.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    return start_http_server(port, address, registry)
