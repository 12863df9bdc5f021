"""Subscribers as they are stored: a class's name, as ``module:qualified.name``, and its fields as JSON.

A stored subscriber is brought back only where its class exists already: nothing on disk can make this
module import, look up or make anything but classes that a subscriber here could have been stored as.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any, get_type_hints

import msgspec

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.serializers.payload_types import accepted_classes
from eventy_sync.serializers.reasons import reason
from eventy_sync.serializers.wholeness import is_same
from eventy_sync.subscribers import Subscriber

_TAG = "eventy:subscriber"


def encode_subscriber(subscriber: Any) -> tuple[str, bytes] | None:
    """Return a subscriber's type name and fields as JSON; None for one that is not to be stored.

    Raises:
        InvalidArgumentError: another worker could not bring it back as it is.
    """
    if not isinstance(subscriber, Subscriber) or _field_names(type(subscriber)) is None:
        return None
    try:
        tagged = _to_plain(subscriber)
        encoded = tagged[_TAG], json.dumps(tagged["fields"], allow_nan=False).encode()
        back = decode_subscriber(*encoded)
    except Exception as exc:  # a user's class may raise anything
        why = str(exc) if isinstance(exc, (_UnfitError, InvalidArgumentError)) else reason(exc)
        raise InvalidArgumentError(f"a field of {type(subscriber).__name__} cannot be stored: {why}") from None
    if not _is_same(subscriber, back):
        raise InvalidArgumentError(
            f"a field of {type(subscriber).__name__} cannot be stored: it would come back as something else; "
            "give each field its type, and no subscribers inside of lists or dicts"
        )
    return encoded


def decode_subscriber(type_name: str, body: bytes) -> Subscriber[Any] | None:
    """Return a stored subscriber; None if its class is not imported in this process.

    Raises:
        InvalidArgumentError: the fields do not fit the class.
    """
    cls = _find_class(type_name)
    if cls is None:
        return None
    try:
        return _build(cls, msgspec.json.decode(body, type=dict[str, Any]))
    except Exception as exc:  # a user's class may raise anything
        why = str(exc) if isinstance(exc, (_UnfitError, msgspec.MsgspecError)) else type(exc).__name__
        raise InvalidArgumentError(f"the stored fields of {type_name!r:.200} do not fit its class: {why}") from None


class _UnfitError(Exception):
    """Says what does not fit without showing a value."""


def _field_names(cls: type) -> list[str] | None:
    """Return the names of the fields that make up an instance; None if the class has none to speak of."""
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls) if field.init]
    for attribute in ("__struct_fields__", "model_fields"):
        if (names := getattr(cls, attribute, None)) is not None:
            return list(names)
    return None


def _is_same(given: Any, back: Any) -> bool:
    if not isinstance(given, Subscriber):
        return is_same(given, back)
    names = _field_names(type(given))
    return (
        names is not None
        and type(back) is type(given)
        and all(_is_same(getattr(given, name), getattr(back, name)) for name in names)
    )


def _to_plain(value: Any) -> Any:
    """Return a field's value as plain JSON values; a subscriber in it becomes a tagged object."""
    if not isinstance(value, Subscriber):
        return msgspec.to_builtins(value)
    cls = type(value)
    names = _field_names(cls)
    if names is None:
        raise _UnfitError(f"{cls.__name__} is no dataclass, pydantic model or msgspec struct")
    type_name = f"{cls.__module__}:{cls.__qualname__}"
    if _find_class(type_name) is not cls:
        raise _UnfitError(f"other workers cannot find {cls.__qualname__}: define it at the top of a module")
    nested = {name for name in names if isinstance(getattr(value, name), Subscriber)}
    if hasattr(value, "model_dump"):
        fields = value.model_dump(mode="json", round_trip=True, by_alias=True, exclude=nested)
    else:
        fields = {name: _to_plain(getattr(value, name)) for name in names if name not in nested}
    return {_TAG: type_name, "fields": {**fields, **{name: _to_plain(getattr(value, name)) for name in nested}}}


def _find_class(type_name: str) -> type[Subscriber[Any]] | None:
    """Return the class of this name, if subscribers of it are stored.  Runs no code of any module's."""
    if not isinstance(type_name, str):
        return None
    module_name, _, qualified = type_name.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in qualified.split("."):
        found = _namespace(found).get(part)
    if not issubclass(type(found), type) or not issubclass(found, Subscriber) or _field_names(found) is None:
        return None
    cls: type[Subscriber[Any]] = found
    return cls


def _namespace(owner: Any) -> Any:
    """Return what a module or class defines, without waking a lazy one."""
    try:
        return object.__getattribute__(owner, "__dict__")
    except AttributeError:
        return {}


class _Nested(msgspec.Struct):
    """A subscriber that is another one's field."""

    type_name: str
    fields: dict[str, Any]


def _build(cls: type[Subscriber[Any]], fields: dict[str, Any]) -> Subscriber[Any]:
    """Make an instance from plain values, checked against the annotations."""
    nested = {name: _build_nested(value) for name, value in fields.items() if isinstance(value, dict) and _TAG in value}
    validate = getattr(cls, "model_validate", None)
    if validate is not None:
        built: Subscriber[Any] = validate({**fields, **nested})
        return built
    if not fields.keys() <= set(_field_names(cls) or ()):
        raise _UnfitError("it has no fields of these names")
    hints = _hints(cls)
    for name, subscriber in nested.items():
        classes = accepted_classes(hints.get(name, Any))
        if classes is not None and not isinstance(subscriber, classes):
            raise _UnfitError(f"{name} is of another type")
    plain = {
        name: msgspec.convert(value, hints.get(name, Any), strict=False)
        for name, value in fields.items()
        if name not in nested
    }
    return cls(**plain, **nested)


def _build_nested(tagged: dict[str, Any]) -> Subscriber[Any]:
    nested = msgspec.convert({"type_name": tagged[_TAG], **tagged}, _Nested)
    cls = _find_class(nested.type_name)
    if cls is None:
        raise _UnfitError(f"the class {nested.type_name!r:.200} of a field is not imported here")
    return _build(cls, nested.fields)


def _hints(cls: type) -> dict[str, Any]:
    """Return the fields' types where they can be resolved; others are taken as they are."""
    try:
        return get_type_hints(cls)
    except NameError:
        return {}
