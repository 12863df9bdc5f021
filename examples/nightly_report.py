"""A job that several schedulers start at the same time and that only one may do.

The claim expires if its holder dies, so the next night is not lost.  Its token grows with each
holder; whatever the job writes to can refuse a token smaller than the last it saw.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from eventy_sync import FileEventQueue

reports: list[str] = []


def nightly(root: Path, scheduler: str) -> None:
    """What each scheduler starts."""
    with FileEventQueue[dict](root, payload_type=dict) as queue, queue.claim("report-2026-11-24") as claim:
        if not claim.acquired:
            print("somebody else does it")
            return
        total = sum(event.payload["cents"] for event in queue.iter_events())
        if claim.lost:
            raise SystemExit("took too long: another may have started")
        reports.append(f"{total} cents, under token {claim.token}")
        claim.keep(3600)  # done for tonight: nobody starts it again within the hour


def main() -> None:
    """Let three schedulers start it at once."""
    with TemporaryDirectory() as directory:
        root = Path(directory) / "sales"
        with FileEventQueue[dict](root, payload_type=dict) as queue:
            queue.publish_many([{"cents": 100}, {"cents": 250}])
        schedulers = [Thread(target=nightly, args=(root, f"host-{number}")) for number in range(3)]
        for scheduler in schedulers:
            scheduler.start()
        for scheduler in schedulers:
            scheduler.join()
        print(reports)


if __name__ == "__main__":
    main()
