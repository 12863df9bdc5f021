"""What a check has found: all is well, or what is not and what to do."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` is what was found and `advice` what to do, "" for nothing; neither ever holds a secret or a payload.

    An error keeps the queue from working, or has lost something; a warning can wait.  `is_damage` says that files are
    damaged.
    """

    part: str
    check: str
    level: str
    text: str
    advice: str = ""
    is_damage: bool = False


def counted(number: int, noun: str) -> str:
    """Return a number of things as a person says it: 1 event, 2 events."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
