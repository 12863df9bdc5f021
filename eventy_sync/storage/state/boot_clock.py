"""A clock for expiry that a changed wall clock cannot upset.

The time since boot is the same in all processes of a machine, goes on through suspend where the
system has such a clock, and cannot be set.  It starts anew at a reboot, which the boot id tells; then,
and only then, the wall clock has to decide.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of both clocks.  `wall` is in microseconds since 1970, UTC; `boot_seconds` since boot."""

    wall: int
    boot_id: str
    boot_seconds: float


def _read_boot_id() -> str:
    try:
        return _BOOT_ID_FILE.read_text("ascii").strip()
    except (OSError, ValueError):
        return "unknown"  # a reboot then shows as a clock that is smaller than when the claim was made


_boot_id = _read_boot_id()


def read_clocks() -> Now:
    """Return the time by both clocks."""
    return Now(time.time_ns() // 1000, _boot_id, time.clock_gettime(_CLOCK))


def live_term(table: str) -> str:
    """Return the SQL that tells whether a row's time is not over; `live_parameters` go with it.

    The table has boot_id, created_boot, expires_boot and expires_at.  After a reboot the boot clock says nothing, so
    the wall clock decides.
    """
    return (
        f"(CASE WHEN {table}.boot_id = ? AND {table}.created_boot <= ? THEN {table}.expires_boot > ? "
        f"ELSE {table}.expires_at > ? END)"
    )


def live_parameters(now: Now) -> tuple[str, float, float, int]:
    """Return the parameters of `live_term`."""
    return now.boot_id, now.boot_seconds, now.boot_seconds, now.wall
