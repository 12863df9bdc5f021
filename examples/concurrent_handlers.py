"""Handlers that wait for something else, several at a time: `concurrency=` of a group.

Without it a group's handlers run one after the other, in the order of the events, retries apart.

It prints:
    downloaded 12 of 12, several at a time, never more than 4
    in order [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
"""

import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from eventy_sync import FileEventQueue, QueueEvent

AT_A_TIME = 4
DOWNLOADS = 12


class Site:
    """A site that takes its time, and counts who asks at the same time.  Handlers share it, so it needs a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self.most_asking = 0

    def download(self, event: QueueEvent[dict]) -> None:
        """Wait for the site's answer."""
        with self._lock:
            self._asking += 1
            self.most_asking = max(self.most_asking, self._asking)
        time.sleep(0.1)
        with self._lock:
            self._asking -= 1


def main() -> None:
    """Download in one group, four at a time, and keep a list in another, one after the other."""
    site = Site()
    in_order: list[int] = []
    with TemporaryDirectory() as directory, FileEventQueue(Path(directory) / "urls", payload_type=dict) as queue:
        queue.subscribe(site.download, group="download", concurrency=AT_A_TIME)
        queue.subscribe(lambda event: in_order.append(event.id), group="list")
        queue.publish_many([{"url": f"https://example.org/{number}"} for number in range(DOWNLOADS)])
        queue.wait_until_idle(timeout=30)
        done = queue.count_results(success__eq=True, group__eq="download")
    how = "several at a time" if site.most_asking > 1 else "one by one"
    limit = f"never more than {AT_A_TIME}" if site.most_asking <= AT_A_TIME else f"even {site.most_asking}"
    print(f"downloaded {done} of {DOWNLOADS}, {how}, {limit}")
    print("in order", in_order)


if __name__ == "__main__":
    main()
