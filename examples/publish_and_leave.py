"""A script that cron starts: it publishes what is new and leaves; a worker handles it whenever that runs.

`key=` makes it harmless to be started twice, or again after it was killed half way: what is there already is not
published a second time.  The end of the ``with`` block puts everything on the disk.

It prints:
    published ['2026-11-23', '2026-11-24']
    published ['2026-11-25']
    published nothing
    reported 3 days
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from eventy_sync import FileEventQueue

DAYS = ("2026-11-23", "2026-11-24", "2026-11-25")


def open_queue(root: Path) -> FileEventQueue[dict]:
    """What the script and the worker agree on."""
    return FileEventQueue[dict](root, payload_type=dict)


def publish_until(root: Path, today: str) -> None:
    """What cron starts: publish all days that are over."""
    with open_queue(root) as queue:
        before = queue.stats()["tail"]
        events = [queue.publish({"day": day}, key=f"day-{day}") for day in DAYS if day <= today]
        print("published", [event.payload["day"] for event in events if event.id > before] or "nothing", flush=True)


def work_off(root: Path) -> None:
    """What a worker does, some time later."""
    reported: list[str] = []
    with open_queue(root) as queue:
        queue.subscribe(lambda event: reported.append(event.payload["day"]), group="reports", from_index=1)
        queue.wait_until_idle(timeout=30)
    print("reported", len(reported), "days")


def main() -> None:
    """Be cron: start the script three times, each a process of its own."""
    with TemporaryDirectory() as directory:
        root = Path(directory) / "days"
        for today in ("2026-11-24", "2026-11-25", "2026-11-25"):
            subprocess.run([sys.executable, __file__, str(root), today], check=True)
        work_off(root)


if __name__ == "__main__":
    publish_until(Path(sys.argv[1]), sys.argv[2]) if len(sys.argv) > 1 else main()
