"""`queue.run()`: its arguments, and what ends it.  Signals are tested with real processes."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import FileEventQueue, InvalidArgumentError, QueueEvent
from eventy_sync.file.running import StopRequests, serve_until_signalled


@pytest.mark.parametrize("threads", [0, -1, 1001, 2.0, "2", True])
def test_threads_that_are_no_number_of_threads_are_refused(root: Path, threads: Any) -> None:
    """With the range, and before the queue is opened."""
    with pytest.raises(InvalidArgumentError, match=r"threads must be a whole number from 1 to 1000, not"):
        FileEventQueue[Any](root).run(threads=threads, burst=True)
    assert not root.exists()


def test_threads_are_there_before_the_queue_opens(root: Path) -> None:
    """Groups that are declared get them."""
    queue, seen = FileEventQueue[Any](root), []
    open_queue = queue.open
    queue.open = lambda: (seen.append(queue._default_concurrency), open_queue())[1]  # type: ignore[method-assign]
    queue.run(threads=3, burst=True)
    assert seen == [3]


def test_a_burst_returns_when_all_is_handled(root: Path) -> None:
    """The queue is closed then, and signals are as they were."""
    before, handled = signal.getsignal(signal.SIGTERM), []
    queue = FileEventQueue[Any](root)

    @queue.subscriber(from_index=1)
    def handle(event: QueueEvent[Any]) -> None:
        handled.append(event.id)
        if event.id == 3:
            queue.publish("follows")

    with FileEventQueue[Any](root) as other:
        other.publish_many(["a", "b", "c"])
    queue.run(burst=True)
    assert handled == [1, 2, 3, 4]
    assert signal.getsignal(signal.SIGTERM) is before


def test_whoever_asks_ends_it(root: Path) -> None:
    """In any thread, and before it has begun."""
    stop = StopRequests()
    stop.ask()
    queue, opened = FileEventQueue[Any](root), []
    serve_until_signalled(queue, stop=stop, on_open=lambda: opened.append(queue.health()["mode"]))
    assert opened == ["file"]


def test_an_error_in_a_burst_is_raised(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not run for ever because it cannot find out that it is done."""
    queue = FileEventQueue[Any](root)

    def fail(timeout: float | None = None) -> bool:
        raise InvalidArgumentError("no")

    monkeypatch.setattr(queue, "wait_until_idle", fail)
    with pytest.raises(InvalidArgumentError, match="no"):
        queue.run(burst=True)


def test_an_early_second_signal_does_not_wait_for_handlers(root: Path) -> None:
    """It may come before the queue is being closed."""
    queue, began, may_end = FileEventQueue[Any](root), threading.Event(), threading.Event()
    with queue:
        queue.publish("a")

    @queue.subscriber(from_index=1)
    def handle(event: QueueEvent[Any]) -> None:
        began.set()
        may_end.wait(20)

    def interrupt() -> None:
        began.wait(20)
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        serve_until_signalled(queue, on_open=interrupt)
    assert time.monotonic() - started < 5
    may_end.set()


def test_it_is_for_the_main_thread(root: Path) -> None:
    """Others get no signals."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            FileEventQueue[Any](root).run(burst=True)
        except InvalidArgumentError as exc:
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "main thread" in str(errors)
