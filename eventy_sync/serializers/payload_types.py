"""Payload types: which values are of one, and what to call them in an error."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Union

from eventy_sync.errors import InvalidPayloadError

PLAIN_TYPES = frozenset({dict, list, str, int, float, bool, bytes, type(None)})


def type_name(payload_type: Any) -> str:
    """Return how a person writes this type."""
    return getattr(payload_type, "__qualname__", None) or str(payload_type)


def is_any(payload_type: Any) -> bool:
    """Return whether everything is of this type."""
    return payload_type is Any or payload_type is object


def accepted_classes(payload_type: Any) -> tuple[type, ...] | None:
    """Return the classes a payload must be an instance of, or None if that cannot be told from outside."""
    if is_any(payload_type):
        return None
    origin = typing.get_origin(payload_type)
    if origin is Annotated:
        return accepted_classes(payload_type.__origin__)
    if origin in (Union, types.UnionType):
        members = [accepted_classes(each) for each in typing.get_args(payload_type)]
        if any(each is None for each in members):
            return None
        return tuple(cls for each in members if each is not None for cls in each)
    cls = payload_type if origin is None else origin
    if payload_type is None:
        return (type(None),)
    if not isinstance(cls, type):
        return None
    if typing.is_typeddict(payload_type):
        return (dict,)
    return (int, float) if cls is float else (cls,)


def acceptor(payload_type: Any) -> Callable[[Any], bool]:
    """Return a test for payloads whose class is not the payload type itself: may they be published as one?

    An instance of a subclass of a class with fields may not, for it would lose its own fields; True is no int.
    """
    classes = accepted_classes(payload_type)
    if classes is None:
        return lambda payload: True
    if has_fields(payload_type):
        return lambda payload: False
    takes_bool = bool in classes
    return lambda payload: isinstance(payload, classes) and (takes_bool or not isinstance(payload, bool))


def wrong_type(payload: Any, payload_type: Any) -> InvalidPayloadError:
    """Return the error for a payload of another type.  It never holds the payload itself."""
    wanted, given = type_name(payload_type), type(payload).__qualname__
    return InvalidPayloadError(f"the payload must be of type {wanted}, not {given}")


def has_fields(payload_type: Any) -> bool:
    """Return whether this is a class of records of named fields, so that a subclass may have more of them."""
    return isinstance(payload_type, type) and (
        dataclasses.is_dataclass(payload_type)
        or hasattr(payload_type, "__attrs_attrs__")
        or hasattr(payload_type, "__struct_fields__")
    )
