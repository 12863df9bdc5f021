"""Exceptions from signals' handlers, at any moment: the queue stays usable, and closing does not hang.

Each test is a process of its own, for the signal may come at any line of it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Spawn = Callable[..., "subprocess.Popen[str]"]
ROUNDS = int(os.environ.get("EVENTY_TEST_INTERRUPTS", "1500"))

BEGIN = """
    import faulthandler, random, signal, sys
    from eventy_sync import FileEventQueue

    class Interrupted(BaseException):
        pass

    armed = False

    def handle(number, frame):
        global armed
        was_armed, armed = armed, False
        if was_armed:
            raise Interrupted

    faulthandler.dump_traceback_later(60, exit=True)
    signal.signal(signal.SIGALRM, handle)
    chance = random.Random(1)
    root, rounds = sys.argv[1], int(sys.argv[2])

    def until_interrupted(most_seconds, work):
        global armed
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00001, most_seconds))
            repeat(work)
        except Interrupted:
            pass

    def repeat(work):
        while armed:  # the interrupt may have come where Python ignores exceptions, as in a destructor
            work()
"""

PUBLISHING = """
    acknowledged = {}
    number = 0

    def publish():
        global number
        number += 1
        acknowledged[queue.publish({"n": number}).id] = number

    with FileEventQueue(root, payload_type=dict, segment_bytes=4096, durability="os") as queue:
        for _ in range(rounds):
            until_interrupted(0.0003, publish)
        publish()
        found = {event.id: event.payload["n"] for event in queue.iter_events()}
        assert list(found) == list(range(1, len(found) + 1))
        assert len(set(found.values())) == len(found)
        assert acknowledged.items() <= found.items()
        assert queue.verify().damages == []
"""

WAITING = """
    seen = []
    for _ in range(rounds // 10):
        with FileEventQueue(root, payload_type=dict, durability="os") as queue:
            queue.subscribe(lambda event: seen.append(event.id))
            until_interrupted(0.002, lambda: list(queue.iter_events(follow=True, timeout=0.01)))
            until_interrupted(0.002, lambda: queue.publish({}) and queue.wait_until_idle(10))
            queue.publish({})
            assert queue.wait_until_idle(20)
    assert seen == sorted(set(seen))
"""

CLAIMING = """
    def claim():
        with queue.claim("x", ttl_seconds=0.05):
            pass

    with FileEventQueue(root, payload_type=dict) as queue, FileEventQueue(root, payload_type=dict) as other:
        for _ in range(rounds // 5):
            until_interrupted(0.001, claim)
        assert queue.create_claim("another", ttl_seconds=60)
        assert not other.create_claim("another")
"""


@pytest.mark.parametrize("work", [PUBLISHING, WAITING, CLAIMING], ids=["publishing", "waiting", "claiming"])
def test_an_interrupt_at_any_moment_leaves_the_queue_usable(root: Path, spawn_python: Spawn, work: str) -> None:
    """Acknowledged events are there once, waiters and claims go on, and the end comes."""
    output, errors = spawn_python(BEGIN + work + '    print("through")', root, ROUNDS).communicate(timeout=120)
    assert output == "through\n", errors
