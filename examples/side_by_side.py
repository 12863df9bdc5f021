"""Several processes on one queue: one publishes, two workers handle each event once between them.

A `NonceSubscriber` takes a claim for each event, so one worker runs it and the other passes it by.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

from eventy_sync import EventQueue, FileEventQueue, NonceSubscriber, QueueEvent, Subscriber

ORDERS = 20


@dataclass
class Order:
    """What somebody bought."""

    id: int


@dataclass
class SendReceipt(Subscriber[Order]):
    """Says who did it; a real one would send a mail."""

    sender: str = "shop@example.org"

    def on_event(self, event: QueueEvent[Order], event_queue: EventQueue[Order]) -> str:
        return f"receipt for order {event.payload.id}"


def work(root: str) -> None:
    """One worker: until its stdin ends, deliver what comes in."""
    with FileEventQueue[Order](root, payload_type=Order) as queue:
        queue.subscribe(NonceSubscriber(SendReceipt()), check_subscriber_unique=True)
        print("ready", flush=True)
        sys.stdin.read()
        queue.wait_until_idle(timeout=10)


def main() -> None:
    """Start two workers, publish, and count who did what."""
    with TemporaryDirectory() as directory:
        root = Path(directory) / "orders"
        command = [sys.executable, __file__, str(root)]
        workers = [Popen(command, stdin=PIPE, stdout=PIPE) for _ in range(2)]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()
        with FileEventQueue[Order](root, payload_type=Order) as queue:
            queue.publish_many([Order(number) for number in range(ORDERS)])
            for worker in workers:
                worker.communicate()
            results = queue.search_results(limit=1000).items
        print(f"{len(results)} receipts for {len({each.event_id for each in results})} orders")


if __name__ == "__main__":
    work(sys.argv[1]) if len(sys.argv) > 1 else main()
