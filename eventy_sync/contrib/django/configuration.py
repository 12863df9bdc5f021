"""What ``EVENTY_SYNC`` in Django's settings says: queues by alias, or what is wrong with it.

::

    EVENTY_SYNC = {alias: {KEY: value, …}, …}

A key is a field of the queue's class in upper case, so that there is one list of them; `DELIVER_AT_ONCE` is the
only one besides.  Whatever is wrong becomes a `Problem`, once: the system checks show it, and so does the error when
a queue is used without them.  No value of a key stands in a problem, for it may hold a password.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from django.conf import settings
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from eventy_sync.errors import EventyError
from eventy_sync.file import AbstractFileEventQueue, FileEventQueue
from eventy_sync.serializers import get_serializer

SETTING = "EVENTY_SYNC"
DEFAULT_ALIAS = "default"
AT_ONCE_KEY = "DELIVER_AT_ONCE"
_REDIS = ("REDIS_URL", "REDIS_CLIENT")
"""One of these makes a queue one that Redis coordinates."""
_PLAIN_TYPES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    str | None: "a text",
}
_OF_THE_PROCESS = {"worker_id"}
_EXAMPLE = f'{SETTING} = {{"{DEFAULT_ALIAS}": {{"ROOT_DIR": BASE_DIR / "queues" / "orders"}}}}'


class Problem(NamedTuple):
    """Something that is wrong.  `number` is E and digits for an error, W and digits for a warning."""

    number: str
    text: str
    hint: str

    def __str__(self) -> str:
        return f"{self.text}  {self.hint}"


@dataclass(frozen=True)
class QueueSettings:
    """One queue as the settings have it.  It is usable if there is no problem but warnings."""

    alias: str
    queue_class: type[AbstractFileEventQueue[Any]]
    fields: dict[str, Any]
    at_once: bool
    problems: list[Problem]

    def __repr__(self) -> str:
        return f"QueueSettings({self.alias!r})"  # a field may be a password

    def make_queue(self, **others: Any) -> AbstractFileEventQueue[Any]:
        """Return the queue, not open."""
        return self.queue_class(**{**self.fields, **others})


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
                text = f"{_name(each.alias)} has the same ROOT_DIR as {_name(other)}."
                yield Problem("E010", text, "Give each queue a directory of its own.")


@sensitive_variables()
def read_queue(alias: str, entry: Mapping[Any, Any]) -> QueueSettings:
    """Return one queue as the settings have it."""
    problems: list[Problem] = []
    queue_class = _queue_class(alias, entry, problems)
    at_once = entry.get(AT_ONCE_KEY, False)
    if not isinstance(at_once, bool):
        problems.append(
            Problem("E009", f"{_name(alias, AT_ONCE_KEY)} is neither True nor False.", "Write one of them.")
        )
    usable = _known(alias, entry, queue_class, problems)
    _check_root(alias, entry, bool(at_once), problems)
    _check_types(alias, usable, queue_class, problems)
    for key, number in (("PAYLOAD_TYPE", "E004"), ("EVENT_SERIALIZER", "E008")):
        if isinstance(usable.get(key), str):
            usable[key] = _imported(alias, key, number, usable[key], problems)
    found = {key.lower(): value for key, value in usable.items()}
    if not any(each.number.startswith("E") for each in problems):
        problems += _refused(alias, queue_class, found)
    return QueueSettings(alias, queue_class, found, bool(at_once), problems)


def _name(alias: str, key: str | None = None) -> str:
    return f"{SETTING}[{alias!r}]" + ("" if key is None else f"[{key!r}]")


# -- keys -----------------------------------------------------------------------------------------------------------


def keys_of(queue_class: type[AbstractFileEventQueue[Any]]) -> list[str]:
    """Return the keys of a class of queues, in the order of its fields."""
    return [each.name.upper() for each in fields(queue_class) if each.init and each.name not in _OF_THE_PROCESS]


def _queue_class(alias: str, entry: Mapping[Any, Any], problems: list[Problem]) -> type[AbstractFileEventQueue[Any]]:
    """Return the class that the keys ask for; an empty REDIS_URL, as an environment may have it, is none."""
    if not any(entry.get(key) for key in _REDIS):
        return FileEventQueue
    try:
        from eventy_sync.redis import RedisFileEventQueue
    except ImportError:
        text = f"{_name(alias, 'REDIS_URL')} is set, but redis-py is not installed."
        problems.append(Problem("E005", text, 'Run: pip install "eventy-sync[redis]"; or remove the key.'))
        return FileEventQueue
    return RedisFileEventQueue


def _redis_keys() -> list[str]:
    try:
        from eventy_sync.redis import RedisFileEventQueue
    except ImportError:
        return list(_REDIS)
    return [key for key in keys_of(RedisFileEventQueue) if key not in keys_of(FileEventQueue)]


def _known(
    alias: str, entry: Mapping[Any, Any], queue_class: type[AbstractFileEventQueue[Any]], problems: list[Problem]
) -> dict[str, Any]:
    """Return the keys that the class has; the others are problems."""
    own, of_redis = keys_of(queue_class), _redis_keys()
    every = [*own, *(key for key in of_redis if key not in own), AT_ONCE_KEY]
    lacks_redis = any(each.number == "E005" for each in problems)
    for key in entry:
        if key in own or key == AT_ONCE_KEY or key in _REDIS or lacks_redis:
            continue
        if key in of_redis:
            if "REDIS_URL" not in entry:
                text = f"{_name(alias, key)} is for queues that Redis coordinates, and there is no REDIS_URL."
                problems.append(Problem("E006", text, 'Add "REDIS_URL": "redis://localhost:6379", or remove it.'))
        else:
            problems.append(Problem("E002", f"{_name(alias)} has an unknown key {key!r:.100}.", _guess(key, every)))
    return {key: entry[key] for key in own if key in entry and not (key in _REDIS and not entry[key])}


def _guess(key: object, known: list[str]) -> str:
    """Return what may have been meant."""
    close = difflib.get_close_matches(str(key).upper(), known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"The keys are {', '.join(known)}."


def unknown_alias(alias: object, known: Iterable[str]) -> Problem:
    """Return the problem that no queue is called so."""
    known = list(known)
    close = difflib.get_close_matches(str(alias), known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There is {', '.join(map(repr, known)) or 'none at all'}."
    return Problem("E001", f"{SETTING} has no queue {alias!r:.100}.", hint)


# -- values ---------------------------------------------------------------------------------------------------------


def _check_root(alias: str, entry: Mapping[Any, Any], at_once: bool, problems: list[Problem]) -> None:
    root = entry.get("ROOT_DIR")
    if root is None and at_once and "ROOT_DIR" not in entry:
        return  # a queue of tests has a temporary one
    hint = 'Name the queue\'s directory: "ROOT_DIR": BASE_DIR / "queues" / "orders".'
    if "ROOT_DIR" not in entry:
        problems.append(Problem("E003", f"{_name(alias)} has no ROOT_DIR.", hint))
    elif not isinstance(root, (str, Path)) or not str(root) or "\0" in str(root):
        problems.append(Problem("E003", f"{_name(alias, 'ROOT_DIR')} is not the path of a directory.", hint))
    elif not Path(root).is_absolute():
        text = f"{_name(alias, 'ROOT_DIR')} is a relative path: each process may take it for another directory."
        problems.append(Problem("W001", text, 'Begin it with BASE_DIR: BASE_DIR / "queues" / "orders".'))


def _check_types(
    alias: str, usable: dict[str, Any], queue_class: type[AbstractFileEventQueue[Any]], problems: list[Problem]
) -> None:
    """Check what has a plain type; the queue's class sees to the others."""
    hints = get_type_hints(queue_class)
    for key, value in usable.items():
        hint = hints[key.lower()]
        if hint in _PLAIN_TYPES and not _is_of(value, hint):
            number = "E007" if key in _REDIS else "E009"
            text = f"{_name(alias, key)} is not {_PLAIN_TYPES[hint]}, but of type {type(value).__name__}."
            problems.append(Problem(number, text, f"Write {_PLAIN_TYPES[hint]}."))


def _is_of(value: Any, hint: Any) -> bool:
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _imported(alias: str, key: str, number: str, path: str, problems: list[Problem]) -> Any:
    """Return what a dotted path names; a name without a point is a builtin type, or that of a serializer."""
    if "." not in path and key == "EVENT_SERIALIZER":
        return path
    try:
        found = import_string(path if "." in path else f"builtins.{path}")
    except Exception as exc:  # the module is the application's: it may raise anything
        reason = str(exc) if isinstance(exc, ImportError) else f"its module raises {type(exc).__name__}"
        example = "shop.events.Order" if key == "PAYLOAD_TYPE" else "shop.events.OrderSerializer"
        hint = f'Write the whole path of a class, such as "{example}", and see that `python -c "import …"` finds it.'
        problems.append(Problem(number, f"{_name(alias, key)} cannot be imported: {reason}.", hint))
        return path
    return found() if key == "EVENT_SERIALIZER" and isinstance(found, type) else found


@sensitive_variables()
def _refused(alias: str, queue_class: type[AbstractFileEventQueue[Any]], found: dict[str, Any]) -> list[Problem]:
    """Return what the queue's class itself has against the values; nothing is opened and no server asked."""
    payload_type = found.get("payload_type", Any)
    try:
        serializer = get_serializer(found.get("event_serializer", "json"), payload_type)
    except EventyError as exc:
        return [Problem("E008", f"{_name(alias, 'EVENT_SERIALIZER')} is refused: {exc}.", "")]
    try:
        serializer.bind(payload_type)
    except EventyError as exc:
        return [Problem("E004", f"{_name(alias, 'PAYLOAD_TYPE')} is refused: {exc}.", "")]
    try:
        queue_class(**{"root_dir": "unused", **found})
    except EventyError as exc:
        text = str(exc)
    except (TypeError, ValueError, AttributeError):
        return [Problem("E009", f"{_name(alias)} has a value of a wrong type.", "")]
    else:
        return []
    key = next((key for key in keys_of(queue_class) if key.lower() in text.split(":")[0]), None)
    number = "E007" if key in _REDIS else "E009"
    return [Problem(number, f"{_name(alias, key)} is refused: {text}.", "")]
