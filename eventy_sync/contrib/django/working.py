"""What ``manage.py eventy_worker`` runs: a queue of the settings with the handlers that the apps have declared."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

from eventy_sync.cli.working import program
from eventy_sync.contrib.declaring import as_handler
from eventy_sync.contrib.django.queues import adopt_queue
from eventy_sync.contrib.django.subscribing import declared, with_fresh_connections
from eventy_sync.contrib.process_queues import AnyQueue
from eventy_sync.file.running import check_threads

logger = logging.getLogger(__name__)


def load_queue(alias: str) -> AnyQueue:
    """Return a queue with the handlers of all apps, not open.

    It is the one that `get_queue` returns in this process, to handlers that publish.
    """
    found = declared(alias)
    queue = adopt_queue(alias)
    for each in found:
        handler = with_fresh_connections(as_handler(each.handler, queue))
        queue.subscriber(handler, **each.options)
    if not found:
        logger.warning("no app has a subscribers.py with a @subscriber for the queue %r", alias)
    return queue


def own_command(alias: str, threads: int | None, burst: bool, inherited: dict[str, Any]) -> list[str]:
    """Return the command line that runs this command again, as one process of a supervisor.

    `inherited` are the options that Django gives to every command; the settings' name is in the environment.
    """
    command = [sys.executable, *program(), "eventy_worker", "--alias", alias, "--skip-checks"]
    command += [*(["--threads", str(threads)] if threads else []), *(["--burst"] * burst)]
    command += [*(["--pythonpath", str(inherited["pythonpath"])] if inherited.get("pythonpath") else [])]
    return [*command, "--verbosity", str(inherited.get("verbosity", 1))]


def serve_under_reloader(alias: str, threads: int | None) -> None:
    """Deliver in a thread of the reloader's child, which ends the process when a file has changed, or at a signal.

    The interpreter's end closes the queue: handlers may finish then, and leases are given back.
    """
    queue = load_queue(alias)
    if threads is not None:
        queue._set_default_concurrency(check_threads(threads))
    queue.open()
    queue.request_resync()
    logger.info("runs the queue %r: worker_id=%s; it starts anew when a file changes", alias, queue.get_worker_id())
    threading.Event().wait()
