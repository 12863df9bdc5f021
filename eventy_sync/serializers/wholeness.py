"""Whether what came back is what was given."""

from __future__ import annotations

import dataclasses
from typing import Any


def is_same(given: Any, back: Any) -> bool:
    """Return whether two values have the same fields, keys and items, whatever their classes call equal.

    1 is the same as 1.0, and NaN as NaN; an instance of a subclass is not the same as one of its base.
    """
    fields = _fields(given)
    if fields is not None:
        return type(back) is type(given) and is_same(fields, _fields(back))
    if isinstance(given, dict):
        return (
            isinstance(back, dict)
            and given.keys() == back.keys()
            and all(is_same(value, back[key]) for key, value in given.items())
        )
    if isinstance(given, (list, tuple)):
        return type(back) is type(given) and len(back) == len(given) and all(map(is_same, given, back))
    return bool(given == back or (given != given and back != back))


def _fields(value: Any) -> dict[str, Any] | None:
    """Return what an instance of a class of named fields holds; None for other values."""
    cls = type(value)
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    elif (struct_fields := getattr(cls, "__struct_fields__", None)) is not None:
        names = list(struct_fields)
    elif (model_fields := getattr(cls, "model_fields", None)) is not None:
        names = [*model_fields, *(getattr(value, "model_extra", None) or ())]
    else:
        return None
    return {name: getattr(value, name, None) for name in names}
