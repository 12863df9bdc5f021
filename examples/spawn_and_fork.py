"""`multiprocessing`: a child that is forked uses its parent's open queue, one that is spawned opens the directory.

A forked child gets descriptors and a worker id of its own.  A spawned one, as on macOS and wherever
`set_start_method("spawn")` is called, starts with nothing: give it the directory rather than the queue.

It prints:
    spawn 15
    fork 15
    published by 6 processes, read by a seventh, under 7 worker ids
"""

import multiprocessing
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from eventy_sync import EventQueue, FileEventQueue

CHILDREN, EVENTS = 3, 5


def open_queue(root: Path) -> FileEventQueue[dict]:
    """What every process agrees on."""
    return FileEventQueue[dict](root, payload_type=dict)


def publish(queue: EventQueue[dict], method: str) -> None:
    """Publish a few events that say who it was."""
    for number in range(EVENTS):
        queue.publish({"method": method, "number": number, "worker_id": str(queue.get_worker_id())})


def open_and_publish(root: Path, method: str) -> None:
    """What a spawned child runs."""
    with open_queue(root) as queue:
        publish(queue, method)


def main() -> None:
    """Start children both ways while the queue is open here, and read what they have published."""
    with TemporaryDirectory() as directory:
        root = Path(directory) / "measurements"
        with open_queue(root) as queue:
            spawn, fork = multiprocessing.get_context("spawn"), multiprocessing.get_context("fork")
            children = [
                *(spawn.Process(target=open_and_publish, args=(root, "spawn")) for _ in range(CHILDREN)),
                *(fork.Process(target=publish, args=(queue, "fork")) for _ in range(CHILDREN)),
            ]
            for child in children:
                child.start()
            for child in children:
                child.join()
                if child.exitcode != 0:
                    raise SystemExit(f"a child ended with {child.exitcode}")
            payloads = [event.payload for event in queue.iter_events()]
            counts = Counter(payload["method"] for payload in payloads)
            print("spawn", counts["spawn"])
            print("fork", counts["fork"])
            workers = {payload["worker_id"] for payload in payloads} | {str(queue.get_worker_id())}
            print(f"published by {len(children)} processes, read by a seventh, under {len(workers)} worker ids")


if __name__ == "__main__":
    main()
