"""Requests to Django and Flask publish under gunicorn: nothing is lost or doubled, and Redis may go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import FileEventQueue, RedisFileEventQueue
from eventy_sync.redis.server import RedisServer
from tests.integration.django.project import Project as DjangoProject
from tests.integration.flask.project import Project as FlaskProject
from tests.web_projects import Order, Project, Site

Wait = Callable[..., None]
REQUESTS = 120


@pytest.fixture(params=[DjangoProject, FlaskProject], ids=["django", "flask"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A minimal project; what it has started is killed at the end."""
    directory = tmp_path / "site"
    directory.mkdir()
    made = request.param(directory)
    yield made
    made.end()


@pytest.fixture
def serve(project: Project, wait_until: Wait) -> Callable[..., Site]:
    """Start gunicorn, and return when it answers."""

    def serve(*options: object, **env: str) -> Site:
        site = Site(project, options, env)
        wait_until(site.is_up)
        return site

    return serve


def published(root: Path) -> list[int]:
    """Return the numbers of the orders in a log."""
    with FileEventQueue(root, payload_type=Order) as queue:
        return [event.payload.id for event in queue.iter_events()]


@pytest.mark.parametrize(
    ("workers", "options"),
    [(1, ()), (2, ("--threads", 4)), (2, ("--threads", 4, "--preload"))],
    ids=["one", "several-with-threads", "preload"],
)
def test_nothing_is_lost_or_doubled(
    project: Project, serve: Callable[..., Site], workers: int, options: tuple[object, ...]
) -> None:
    """Each request publishes once, from all workers, with no thread but the one that syncs; SIGTERM ends well.

    With --preload the master has published before it forks.
    """
    preloaded = [0] if "--preload" in options else []
    site = serve("--workers", workers, *options, **({"TEST_PUBLISH_AT_IMPORT": "1"} if preloaded else {}))
    answers: list[tuple[int, Any]] = []
    deadline = time.monotonic() + 20
    with ThreadPoolExecutor(16) as clients:
        while len({answer["pid"] for _, answer in answers}) < workers:  # one may be quicker at taking all
            assert time.monotonic() < deadline, "a worker takes no requests"
            numbers = range(len(answers) + 1, len(answers) + REQUESTS + 1)
            answers += clients.map(lambda n: site.get(f"/order/{n}/"), numbers)
    assert {status for status, _ in answers} == {200}
    assert {name for _, answer in answers for name in answer["threads"]} <= {"eventy-orders-sync"}
    assert site.stop() == 0
    assert sorted(published(project.root)) == [*preloaded, *range(1, len(answers) + 1)]
    assert "Traceback" not in site.started.errors


def test_a_worker_handles_what_requests_publish(project: Project, serve: Callable[..., Site], wait_until: Wait) -> None:
    """Each event once, and none in the process that publishes."""
    project.prepare()
    worker = project.start(*project.worker)
    site = serve("--workers", 2)
    for n in range(1, 21):
        assert site.get(f"/order/{n}/")[0] == 200
    wait_until(lambda: worker.output.count("billed") == 20)
    assert site.stop() == 0
    assert worker.stop() == 0
    assert worker.output.count("billed") == 20
    assert "billed" not in site.started.output


def test_a_queue_of_one_host_is_published_to_without_redis(
    project: Project, serve: Callable[..., Site], server: RedisServer
) -> None:
    """The server is killed: each request is answered within a second, and its event is there."""
    settings = project.queue_settings(REDIS_URL=server.url)
    site = serve("--workers", 2, "--threads", 2, "--preload", TEST_PUBLISH_AT_IMPORT="1", **settings)
    for n in range(1, 11):
        status, answer = site.get(f"/order/{n}/")
        assert (status, set(answer["threads"]) <= {"eventy-orders-sync"}) == (200, True)
    server.kill()
    for n in range(11, 31):
        started = time.monotonic()
        status, answer = site.get(f"/order/{n}/")
        assert (status, time.monotonic() - started < 1) == (200, True), answer
        assert set(answer["threads"]) <= {"eventy-orders-sync", "eventy-orders-recovery"}
    assert site.stop() == 0
    server.start()
    with RedisFileEventQueue(project.root, Order, redis_url=server.url) as queue:
        assert [event.payload.id for event in queue.iter_events()] == list(range(31))
    assert "Traceback" not in site.started.errors


def test_a_queue_of_several_hosts_refuses_without_redis(
    project: Project, serve: Callable[..., Site], server: RedisServer, tmp_path: Path
) -> None:
    """The server is killed: each request is told so within a second, and what is refused is not published later."""
    with RedisFileEventQueue(tmp_path / "other" / "orders", Order, redis_url=server.url) as other:
        other.publish(Order(0, 1.0))
        site = serve("--workers", 2, **project.queue_settings(REDIS_URL=server.url))
        for n in range(1, 11):
            assert site.get(f"/order/{n}/")[0] == 200
        server.kill()
        for n in range(11, 31):
            started = time.monotonic()
            status, answer = site.get(f"/order/{n}/")
            assert (status, time.monotonic() - started < 1) == (503, True), answer
            assert "Redis" in answer["error"]
    assert site.stop() == 0
    with RedisFileEventQueue(project.root, Order, redis_url="redis://127.0.0.1:1") as queue:
        assert [event.payload.id for event in queue.iter_events(queue.stats()["oldest"])] == list(range(1, 11))
