"""State made from history: balances of accounts, first from the past, then as events come in."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from eventy_sync import FileEventQueue, QueueEvent


@dataclass
class Booking:
    """Money that goes to an account; negative, it is taken away.  In cents."""

    account: str
    cents: int


def main() -> None:
    """Book, replay, and go on from where the replay ended."""
    with TemporaryDirectory() as directory:
        queue: FileEventQueue[Booking] = FileEventQueue(Path(directory) / "bookings", payload_type=Booking)
        with queue:
            queue.publish_many([Booking("alice", 1000), Booking("bob", 500), Booking("alice", -250)])

        with queue:  # another day, another process
            balances: Counter[str] = Counter()
            last_id = 0
            for event in queue.iter_events():
                balances[event.payload.account] += event.payload.cents
                last_id = event.id
            print("from history", dict(balances))

            def book(event: QueueEvent[Booking]) -> None:
                balances[event.payload.account] += event.payload.cents

            queue.subscribe(book, from_index=last_id + 1)  # nothing is missed in between, nothing counted twice
            queue.publish(Booking("bob", 75))
            queue.wait_until_idle(timeout=10)
            print("and now     ", dict(balances))


if __name__ == "__main__":
    main()
