"""What is wrong with a payload, in words that show nothing of what it holds.

Errors go to logs that more people read than the queue.  What libraries say of the types they expected is
passed on; what they quote, and what a user's own class says, is not.
"""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec

_QUOTING = re.compile(r"(Invalid (?:enum )?value|Object contains unknown field) .*?( - at `\$[^`]*`)?", re.DOTALL)
_WITH_VALUES = frozenset({"error", "tag"})
"""Parts of pydantic's texts that come from the payload, or from an exception of the user's."""
_AT_MOST = 3


def reason(exc: Exception) -> str:
    """Return why an encoder or decoder refused, without the values it refused."""
    if isinstance(exc, UnicodeEncodeError):
        return "it holds text that is not valid Unicode (a lone surrogate)"
    if not isinstance(exc, (msgspec.MsgspecError, TypeError)) or exc.__cause__ is not None:
        return type(exc).__name__
    quoting = _QUOTING.fullmatch(str(exc))
    return str(exc) if quoting is None else quoting[1] + (quoting[2] or "")


def pydantic_reason(exc: Exception, adapter: Any) -> str:
    """Return why pydantic refused: the fields, and what each should have been."""
    errors = getattr(exc, "errors", None)
    if errors is None:
        return type(exc).__name__
    names = _field_names(adapter)
    found = errors(include_url=False, include_input=False)
    return "; ".join(f"{_place(each['loc'], names)}: {_text(each)}" for each in found[:_AT_MOST])


def _text(error: Any) -> str:
    """Return pydantic's text if it comes from the type alone, else the kind of error."""
    from pydantic_core.core_schema import ErrorType

    is_pydantics_own = error["type"] in get_args(ErrorType) and _WITH_VALUES.isdisjoint(error.get("ctx", ()))
    return str(error["msg"] if is_pydantics_own else error["type"])


def _place(loc: tuple[Any, ...], names: set[str]) -> str:
    """Return where in the payload this is; a key that is no field's name belongs to the payload."""
    return ".".join(str(each) if isinstance(each, int) or each in names else "…" for each in loc) or "payload"


def _field_names(adapter: Any) -> set[str]:
    try:
        unseen = [adapter.json_schema(by_alias=True), adapter.json_schema(by_alias=False)]
    except Exception:  # pydantic has no JSON schema for every type it can store
        return set()
    names: set[str] = set()
    while unseen:
        part = unseen.pop()
        if isinstance(part, dict):
            names.update(part.get("properties", ()))
            unseen += part.values()
        elif isinstance(part, list):
            unseen += part
    return names
