"""What ``EVENTY_SYNC`` in Django's settings says: queues by alias, or what is wrong with it.

::

    EVENTY_SYNC = {alias: {KEY: value, …}, …}

`DELIVER_AT_ONCE` is the only key that is no field of a queue.  What is wrong is shown by the system checks, and by the
error when a queue is used without them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from eventy_sync.contrib import settings as queue_settings
from eventy_sync.contrib.settings import Problem, Wording

SETTING = "EVENTY_SYNC"
DEFAULT_ALIAS = "default"
AT_ONCE_KEY = "DELIVER_AT_ONCE"
_EXAMPLE_ROOT = 'BASE_DIR / "queues" / "orders"'
_EXAMPLE = f'{SETTING} = {{"{DEFAULT_ALIAS}": {{"ROOT_DIR": {_EXAMPLE_ROOT}}}}}'


@dataclass(frozen=True)
class AliasWording(Wording):
    """Keys of the queue of an alias."""

    alias: str

    example_root = _EXAMPLE_ROOT
    absolute_root = f"Begin it with BASE_DIR: {_EXAMPLE_ROOT}."

    def queue(self) -> str:
        return f"{SETTING}[{self.alias!r}]"

    def name(self, key: str) -> str:
        return f"{self.queue()}[{key!r}]"

    def key(self, key: str) -> str:
        return key

    def assignment(self, key: str, value: str) -> str:
        return f'"{key}": {value}'

    def unknown(self, key: object) -> str:
        return f"{self.queue()} has an unknown key {key!r:.100}."

    def missing(self, key: str) -> str:
        return f"{self.queue()} has no {key}."


@dataclass(frozen=True)
class QueueSettings(queue_settings.QueueSettings):
    """The queue of an alias."""

    alias: str
    at_once: bool

    def __repr__(self) -> str:
        return f"QueueSettings({self.alias!r})"


def read_all() -> tuple[dict[str, QueueSettings], list[Problem]]:
    """Return all queues by alias, and everything that is wrong, theirs included."""
    configured = getattr(settings, SETTING, None)
    if configured is None:
        return {}, [Problem("E001", f"{SETTING} is missing in the settings.", f"Add {_EXAMPLE}.")]
    if not isinstance(configured, Mapping):
        return {}, [Problem("E001", f"{SETTING} is not a dict of queues by alias.", f"Write {_EXAMPLE}.")]
    queues, problems = {}, []
    for alias, entry in configured.items():
        if isinstance(alias, str) and isinstance(entry, Mapping):
            queues[alias] = read_queue(alias, entry)
            problems += queues[alias].problems
        else:
            problems.append(Problem("E001", f"{SETTING}[{alias!r:.100}] is not a dict of keys.", f"Write {_EXAMPLE}."))
    return queues, problems + list(_shared_roots(queues.values()))


def _shared_roots(queues: Iterable[QueueSettings]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for each in queues:
        root = each.fields.get("root_dir")
        if isinstance(root, (str, os.PathLike)) and not each.at_once:
            other = seen.setdefault(os.path.abspath(root), each.alias)
            if other != each.alias:
                text = f"{AliasWording(each.alias).queue()} has the same ROOT_DIR as {AliasWording(other).queue()}."
                yield Problem("E010", text, "Give each queue a directory of its own.")


@sensitive_variables()
def read_queue(alias: str, entry: Mapping[Any, Any]) -> QueueSettings:
    """Return one queue as the settings have it.

    A queue that delivers at once is one of tests, and has a temporary root unless it names another.
    """
    problems: list[Problem] = []
    wording = AliasWording(alias)
    at_once = entry.get(AT_ONCE_KEY, False)
    if not isinstance(at_once, bool):
        problems.append(
            Problem("E009", f"{wording.name(AT_ONCE_KEY)} is neither True nor False.", "Write one of them.")
        )
    queue_class, found = queue_settings.read_queue(
        entry, wording, problems, other_keys=[AT_ONCE_KEY], needs_root=not at_once
    )
    return QueueSettings(queue_class, found, problems, alias=alias, at_once=bool(at_once))


def unknown_alias(alias: object, known: Iterable[str]) -> Problem:
    """Return the problem that no queue is called so."""
    known = list(known)
    close = difflib.get_close_matches(str(alias), known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There is {', '.join(map(repr, known)) or 'none at all'}."
    return Problem("E001", f"{SETTING} has no queue {alias!r:.100}.", hint)
