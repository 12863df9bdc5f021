"""Clocks that tests set by hand."""

from __future__ import annotations

from dataclasses import replace

from eventy_sync.storage.state.boot_clock import Now


class Clocks:
    """Both clocks, set by hand."""

    def __init__(self) -> None:
        self.now = Now(1_700_000_000_000_000, "boot-1", 1000.0)

    def __call__(self) -> Now:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now = replace(
            self.now, wall=self.now.wall + int(seconds * 1e6), boot_seconds=self.now.boot_seconds + seconds
        )

    def set_wall(self, by: int) -> None:
        self.now = replace(self.now, wall=self.now.wall + by)

    def reboot(self) -> None:
        self.now = Now(self.now.wall, "boot-2", 5.0)
