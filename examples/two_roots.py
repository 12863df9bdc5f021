"""Two hosts on one queue: each has the whole log in a directory of its own, and Redis coordinates them.

Ids are given out in common, so both logs are equal; a claim that one host has, the other does not get.
It starts a server of its own unless EVENTY_REDIS_URL names one.
"""

import os
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from eventy_sync import QueueEvent, RedisFileEventQueue
from eventy_sync.redis.cleaning import delete_keys
from eventy_sync.redis.server import RedisServer

PREFIX = f"two-roots-{uuid4().hex[:8]}"
ORDERS = 10


def open_on(host: Path, url: str) -> RedisFileEventQueue[dict]:
    """What each host does.  The name is the same on all, whatever the directory is called."""
    return RedisFileEventQueue[dict](host, payload_type=dict, name="orders", redis_url=url, redis_prefix=PREFIX)


def log_of(queue: RedisFileEventQueue[dict]) -> bytes:
    """The log as it is on the disk of one host."""
    return b"".join(path.read_bytes() for path in sorted((Path(queue.root_dir) / "events").glob("*.log")))


def show(directory: Path, url: str) -> None:
    """Publish on both hosts, see it on both, and take a claim."""
    with open_on(directory / "berlin", url) as berlin, open_on(directory / "lima", url) as lima:
        seen: dict[str, list[int]] = {"berlin": [], "lima": []}
        all_seen = threading.Semaphore(0)

        def subscribe(queue: RedisFileEventQueue[dict], city: str) -> None:
            def see(event: QueueEvent[dict]) -> None:
                seen[city].append(event.id)
                if len(seen[city]) == ORDERS:
                    all_seen.release()

            queue.subscribe(see, from_index=1)

        subscribe(berlin, "berlin")
        subscribe(lima, "lima")
        for number in range(ORDERS):
            (berlin if number % 2 else lima).publish({"order": number})
        for _ in seen:
            all_seen.acquire(timeout=10)
        print("seen in Berlin ", seen["berlin"])
        print("seen in Lima   ", seen["lima"])
        print("equal logs     ", log_of(berlin) == log_of(lima))
        with berlin.claim("nightly-report") as mine, lima.claim("nightly-report") as theirs:
            print("claimed        ", {"berlin": mine.acquired, "lima": theirs.acquired})


def main() -> None:
    """Find a server or start one, and show it."""
    with TemporaryDirectory() as directory:
        if url := os.environ.get("EVENTY_REDIS_URL"):
            show(Path(directory), url)
            delete_keys(url, PREFIX)
        else:
            with RedisServer() as server:
                show(Path(directory), server.url)


if __name__ == "__main__":
    main()
