"""What no payload may exceed, and how an excess is said."""

from __future__ import annotations

from typing import Any

import msgspec

from eventy_sync.errors import InvalidPayloadError

MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 100

_CONTAINERS = (dict, list)


def check_size(body: bytes) -> None:
    """Raise InvalidPayloadError if the encoded payload is too large."""
    if len(body) > MAX_PAYLOAD_BYTES:
        raise InvalidPayloadError(
            f"the payload takes {len(body)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed: "
            "store it elsewhere and publish where it is"
        )


def too_deep() -> InvalidPayloadError:
    """Return the error for a payload that is nested too deeply, or contains itself."""
    return InvalidPayloadError(f"the payload is nested more than {MAX_DEPTH} levels deep, or contains itself")


def check_json(body: bytes) -> None:
    """Raise InvalidPayloadError if a JSON text is too large or too deep."""
    check_size(body)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        check_depth(msgspec.json.decode(body))


def check_depth(value: Any) -> None:
    """Raise InvalidPayloadError if plain dicts and lists are nested too deeply."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for container in level
            if isinstance(container, _CONTAINERS)
            for child in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return
    raise too_deep()
