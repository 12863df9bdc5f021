"""Threads of a pool that publish to one queue: it is opened once, and every thread uses it.

`publish` returns when the event is in the log, in whichever order the threads come; threads that publish at the same
time are written together.

It prints:
    40 photos, 40 different ids, from 1 to 40
    the first error: the payload must be of type Photo, not str
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from eventy_sync import FileEventQueue, InvalidPayloadError, QueueEvent


@dataclass
class Photo:
    """What a thread has made."""

    name: str
    size_bytes: int


def shrink(name: str) -> Photo:
    """Stands for the work."""
    return Photo(name, size_bytes=1000 * len(name))


def main() -> None:
    """Shrink photos in eight threads, and publish each that is done."""
    with TemporaryDirectory() as directory, FileEventQueue(Path(directory) / "photos", payload_type=Photo) as queue:

        def work(name: str) -> QueueEvent[Photo]:
            return queue.publish(shrink(name))

        with ThreadPoolExecutor(max_workers=8) as pool:
            published = list(pool.map(work, [f"photo-{number}.jpg" for number in range(40)]))
            wrong = pool.submit(queue.publish, "no photo")  # type: ignore[arg-type]

        ids = {event.id for event in published}
        print(f"{len(published)} photos, {len(ids)} different ids, from {min(ids)} to {max(ids)}")
        error = wrong.exception()  # what publish raises in a thread is in its future: ask for it
        assert isinstance(error, InvalidPayloadError)
        print("the first error:", error)


if __name__ == "__main__":
    main()
