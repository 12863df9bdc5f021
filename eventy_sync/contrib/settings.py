"""What a web framework's settings say of a queue: fields of its class in upper case, or what is wrong with them.

A key is a field of the queue's class, so that there is one list of them.  Whatever is wrong becomes a `Problem`, once.
How a framework's users know a key is its `Wording`.  No value of a key stands in a problem: it may hold a password.
"""

from __future__ import annotations

import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, get_type_hints

from eventy_sync.errors import EventyError
from eventy_sync.file import AbstractFileEventQueue, FileEventQueue
from eventy_sync.file.identity import read_identity
from eventy_sync.serializers import get_serializer

AnyQueue = AbstractFileEventQueue[Any]

_REDIS = ("REDIS_URL", "REDIS_CLIENT")
"""One of these makes a queue one that Redis coordinates."""
_PLAIN_TYPES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    str | None: "a text",
}
_EXAMPLE_URL = '"redis://localhost:6379"'
_OF_THE_PROCESS = {"worker_id"}
_OF_THE_FILES = ("root_dir", "payload_type", "name", "event_serializer")


class Problem(NamedTuple):
    """Something that is wrong.  `number` is E and digits for an error, W and digits for a warning.

    `key` is the key whose value is no good at all, so that nothing else is found wrong with it.
    """

    number: str
    text: str
    hint: str
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.text}  {self.hint}"


class Wording(ABC):
    """How a framework's users know a key of a queue.

    `example_root` is a good value of ROOT_DIR, `absolute_root` says how a relative one is made absolute.
    """

    example_root: ClassVar[str]
    absolute_root: ClassVar[str]

    @abstractmethod
    def queue(self) -> str:
        """Return what all settings of the queue together are called."""

    @abstractmethod
    def name(self, key: str) -> str:
        """Return the setting's whole name, with the queue's."""

    @abstractmethod
    def key(self, key: str) -> str:
        """Return what is written where the settings of the queue stand."""

    @abstractmethod
    def assignment(self, key: str, value: str) -> str:
        """Return the text that sets a key."""

    @abstractmethod
    def unknown(self, key: object) -> str:
        """Say that there is no such key."""

    @abstractmethod
    def missing(self, key: str) -> str:
        """Say that a key is not there."""


@dataclass(frozen=True)
class QueueSettings:
    """One queue as the settings have it.  It is usable if there is no problem but warnings."""

    queue_class: type[AnyQueue]
    fields: dict[str, Any]
    problems: list[Problem]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # a field may be a password

    def make_queue(self, **others: Any) -> AnyQueue:
        """Return the queue, not open."""
        return self.queue_class(**{**self.fields, **others})

    def make_queue_to_look_at(self) -> AnyQueue:
        """Return the queue of a root that is there, not open.

        A look makes no queue, and no root join others: one that has not is looked at as the files it is.

        Raises:
            QueueFormatError: the root is not a queue.
        """
        queue = self.make_queue()
        if read_identity(Path(queue.root_dir)).joined is not None:
            return queue
        return FileEventQueue(**{name: self.fields[name] for name in _OF_THE_FILES if name in self.fields})


def read_queue(
    entry: Mapping[Any, Any],
    wording: Wording,
    problems: list[Problem],
    *,
    other_keys: Iterable[str] = (),
    needs_root: bool = True,
) -> tuple[type[AnyQueue], dict[str, Any]]:
    """Return the class and the fields of one queue; what is wrong goes to `problems`.

    Arguments:
        other_keys: keys that are known, besides the fields.
        needs_root: a missing ROOT_DIR is a problem.
    """
    queue_class = _queue_class(entry, wording, problems)
    usable = _known(entry, wording, queue_class, list(other_keys), problems)
    if needs_root or "ROOT_DIR" in entry:
        _check_root(entry, wording, problems)
    _check_types(wording, usable, queue_class, problems)
    for key, number in (("PAYLOAD_TYPE", "E004"), ("EVENT_SERIALIZER", "E008")):
        if isinstance(usable.get(key), str):
            usable[key] = _imported(wording, key, number, usable[key], problems)
    useless = {each.key for each in problems}
    problems += _refused(wording, queue_class, {key: usable[key] for key in usable if key not in useless})
    return queue_class, {key.lower(): value for key, value in usable.items()}


# -- keys -----------------------------------------------------------------------------------------------------------


def keys_of(queue_class: type[AnyQueue]) -> list[str]:
    """Return the keys of a class of queues, in the order of its fields."""
    return [each.name.upper() for each in fields(queue_class) if each.init and each.name not in _OF_THE_PROCESS]


def _queue_class(entry: Mapping[Any, Any], wording: Wording, problems: list[Problem]) -> type[AnyQueue]:
    """Return the class that the keys ask for; an empty REDIS_URL, as an environment may have it, is none."""
    if not any(entry.get(key) for key in _REDIS):
        return FileEventQueue
    try:
        from eventy_sync.redis import RedisFileEventQueue
    except ImportError:
        text = f"{wording.name('REDIS_URL')} is set, but redis-py is not installed."
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
    entry: Mapping[Any, Any],
    wording: Wording,
    queue_class: type[AnyQueue],
    other_keys: list[str],
    problems: list[Problem],
) -> dict[str, Any]:
    """Return the keys that the class has; the others are problems."""
    own, of_redis = keys_of(queue_class), _redis_keys()
    every = [*own, *(key for key in of_redis if key not in own), *other_keys]
    lacks_redis = any(each.number == "E005" for each in problems)
    for key in entry:
        if key in own or key in other_keys or key in _REDIS or lacks_redis:
            continue
        if key in of_redis:
            if "REDIS_URL" not in entry:
                url = wording.key("REDIS_URL")
                text = f"{wording.name(key)} is for queues that Redis coordinates, and there is no {url}."
                hint = f"Add {wording.assignment('REDIS_URL', _EXAMPLE_URL)}, or remove it."
                problems.append(Problem("E006", text, hint))
        else:
            problems.append(Problem("E002", wording.unknown(key), _guess(key, every, wording)))
    return {key: entry[key] for key in own if key in entry and not (key in _REDIS and not entry[key])}


def _guess(key: object, known: list[str], wording: Wording) -> str:
    """Return what may have been meant."""
    close = difflib.get_close_matches(str(key).upper(), known, n=1)
    if close:
        return f"Did you mean {wording.key(close[0])!r}?"
    return f"The keys are {', '.join(map(wording.key, known))}."


# -- values ---------------------------------------------------------------------------------------------------------


def _check_root(entry: Mapping[Any, Any], wording: Wording, problems: list[Problem]) -> None:
    root = entry.get("ROOT_DIR")
    hint = f"Name the queue's directory: {wording.assignment('ROOT_DIR', wording.example_root)}."
    if "ROOT_DIR" not in entry:
        problems.append(Problem("E003", wording.missing("ROOT_DIR"), hint))
    elif not isinstance(root, (str, Path)) or not str(root) or "\0" in str(root):
        text = f"{wording.name('ROOT_DIR')} is not the path of a directory."
        problems.append(Problem("E003", text, hint, "ROOT_DIR"))
    elif not Path(root).is_absolute():
        text = f"{wording.name('ROOT_DIR')} is a relative path: each process may take it for another directory."
        problems.append(Problem("W001", text, wording.absolute_root))


def _check_types(
    wording: Wording, usable: dict[str, Any], queue_class: type[AnyQueue], problems: list[Problem]
) -> None:
    """Check what has a plain type; the queue's class sees to the others."""
    hints = get_type_hints(queue_class)
    for key, value in usable.items():
        hint = hints[key.lower()]
        if hint in _PLAIN_TYPES and not _is_of(value, hint):
            number = "E007" if key in _REDIS else "E009"
            text = f"{wording.name(key)} is not {_PLAIN_TYPES[hint]}, but of type {type(value).__name__}."
            problems.append(Problem(number, text, f"Write {_PLAIN_TYPES[hint]}.", key))


def _is_of(value: Any, hint: Any) -> bool:
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _imported(wording: Wording, key: str, number: str, path: str, problems: list[Problem]) -> Any:
    """Return what a dotted path names; a name without a point is a builtin type, or that of a serializer."""
    if "." not in path and key == "EVENT_SERIALIZER":
        return path
    try:
        found = _import(path if "." in path else f"builtins.{path}")
    except Exception as exc:  # the module is the application's: it may raise anything
        reason = str(exc) if isinstance(exc, ImportError) else f"its module raises {type(exc).__name__}"
        example = "shop.events.Order" if key == "PAYLOAD_TYPE" else "shop.events.OrderSerializer"
        hint = f'Write the whole path of a class, such as "{example}", and see that `python -c "import …"` finds it.'
        problems.append(Problem(number, f"{wording.name(key)} cannot be imported: {reason}.", hint, key))
        return path
    return found() if key == "EVENT_SERIALIZER" and isinstance(found, type) else found


def _import(path: str) -> Any:
    """Return what stands in a module; the settings are the application's own, as its code is."""
    module_name, _, name = path.rpartition(".")
    module = importlib.import_module(module_name)
    if not hasattr(module, name):
        raise ImportError(f"the module {module_name!r} has no {name!r}")
    return getattr(module, name)


def _refused(wording: Wording, queue_class: type[AnyQueue], values: dict[str, Any]) -> list[Problem]:
    """Return what the queue's class itself has against the values, each by itself or else all together.

    Nothing is opened and no server asked.
    """
    problems = _unfit(wording, values)
    for key in values:
        if key not in ("PAYLOAD_TYPE", "EVENT_SERIALIZER"):
            problems += _refusal(wording, queue_class, {key: values[key]})
    return problems or _refusal(wording, queue_class, values)


def _unfit(wording: Wording, values: dict[str, Any]) -> list[Problem]:
    """Return what is against the serializer and the type, which it has to take."""
    payload_type = values.get("PAYLOAD_TYPE", Any)
    try:
        serializer = get_serializer(values.get("EVENT_SERIALIZER", "json"), payload_type)
    except EventyError as exc:
        return [Problem("E008", f"{wording.name('EVENT_SERIALIZER')} is refused: {exc}.", "")]
    try:
        serializer.bind(payload_type)
    except EventyError as exc:
        return [Problem("E004", f"{wording.name('PAYLOAD_TYPE')} is refused: {exc}.", "")]
    return []


def _refusal(wording: Wording, queue_class: type[AnyQueue], values: dict[str, Any]) -> list[Problem]:
    """Return what the class has against these values: one, or several that do not go together."""
    key = next(iter(values)) if len(values) == 1 else None
    what = wording.queue() if key is None else wording.name(key)
    number = "E007" if key in _REDIS else "E009"
    try:
        queue_class(**{"root_dir": "unused", **{name.lower(): value for name, value in values.items()}})
    except EventyError as exc:
        return [Problem(number, f"{what} is refused: {exc}.", "")]
    except (TypeError, ValueError, AttributeError):
        return [Problem(number, f"{what} has a value of a wrong type.", "")]
    return []
