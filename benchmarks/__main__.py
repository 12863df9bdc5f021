"""``python -m benchmarks [--events N] [--history N] [--only files|redis|groups]``: prints what the documents quote."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

from benchmarks import on_files, on_groups, on_redis
from benchmarks.measure import PAYLOAD


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--history", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["files", "redis", "groups"])
    given = parser.parse_args()
    machine = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"
    print(f"{machine}; a dict of {len(json.dumps(PAYLOAD))} bytes as JSON")
    with tempfile.TemporaryDirectory(prefix="eventy-bench-") as name:
        directory = Path(name)
        if given.only in (None, "files"):
            on_files.run(directory, given.events, given.history)
        if given.only in (None, "redis"):
            on_redis.run(directory, given.events)
        if given.only in (None, "groups"):
            on_groups.run(directory, given.events * 5, given.history * 10)


if __name__ == "__main__":
    main()
