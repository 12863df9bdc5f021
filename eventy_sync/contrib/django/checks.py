"""Django's system checks: what is wrong with ``EVENTY_SYNC`` is said when the server or a command starts."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning

from eventy_sync.contrib.django.configuration import read_all


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return a message for each problem."""
    _, problems = read_all()
    return [
        (Warning if each.number.startswith("W") else Error)(
            each.text, hint=each.hint or None, id=f"eventy_sync.{each.number}"
        )
        for each in problems
    ]
