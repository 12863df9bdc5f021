"""JSON and MessagePack by msgspec, for builtins, dataclasses, TypedDicts, attrs and msgspec structs.

What a type without fields of its own (dict, list, Any) holds comes back as the format has it: in JSON,
keys as text, tuples as lists, bytes and times as text.  Give fields types to get them back as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from eventy_sync.errors import InvalidArgumentError, InvalidPayloadError
from eventy_sync.serializers.base import Codec, Serializer
from eventy_sync.serializers.limits import SHALLOW_BYTES, check_depth, check_json, check_size, too_deep
from eventy_sync.serializers.payload_types import (
    PLAIN_TYPES,
    acceptor,
    is_any,
    type_name,
    wrong_type,
)

_ENCODING_ERRORS = (TypeError, ValueError, OverflowError, msgspec.MsgspecError)
_LINE_FEED = ord("\n")
_DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, ValueError)


class JsonSerializer(Serializer):
    """JSON.  NaN and infinities have no JSON and are refused."""

    encoding = "json"

    def bind(self, payload_type: Any) -> Codec:
        return _bind(payload_type, msgspec.json.Encoder().encode, _json_decoder, _check_json)


class MessagePackSerializer(Serializer):
    """MessagePack: smaller for binary data, and NaN is allowed; the log is no longer readable with ordinary tools."""

    encoding = "msgpack"

    def bind(self, payload_type: Any) -> Codec:
        return _bind(payload_type, msgspec.msgpack.Encoder().encode, _msgpack_decoder, _check_msgpack)


def _json_decoder(payload_type: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(payload_type).decode


def _msgpack_decoder(payload_type: Any) -> Callable[[bytes], Any]:
    return msgspec.msgpack.Decoder(payload_type).decode


def _check_json(payload: Any, body: bytes) -> None:
    """Raise InvalidPayloadError for what JSON cannot hold."""
    if len(body) > SHALLOW_BYTES:
        check_json(body)
    if body.find(b"null") >= 0 and not _is_finite(msgspec.to_builtins(payload)):
        raise InvalidPayloadError("the payload holds NaN or an infinity, which JSON cannot: use None or a string")
    if _LINE_FEED in body:  # only a msgspec.Raw can bring one in
        raise InvalidPayloadError("the payload's JSON holds a line feed: encode it without line breaks")


def _check_msgpack(payload: Any, body: bytes) -> None:
    check_size(body)
    check_depth(msgspec.msgpack.decode(body, strict=False))


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_is_finite(key) and _is_finite(child) for key, child in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_finite(child) for child in value)
    return True


def _bind(
    payload_type: Any,
    encode: Callable[[Any], bytes],
    decoder: Callable[[Any], Callable[[bytes], Any]],
    check: Callable[[Any, bytes], None],
) -> Codec:
    is_accepted = acceptor(payload_type)
    try:
        decode = decoder(Any if is_any(payload_type) else payload_type)
    except (TypeError, NameError) as exc:
        raise _unsupported(payload_type) from exc
    if not is_any(payload_type) and _has_unknown_class(payload_type):
        raise _unsupported(payload_type)
    verifies = payload_type not in PLAIN_TYPES and not is_any(payload_type)

    def encode_checked(payload: Any) -> bytes:
        if type(payload) is not payload_type and not is_accepted(payload):
            raise wrong_type(payload, payload_type)
        try:
            body = encode(payload)
            check(payload, body)
            if verifies:
                decode(body)
        except InvalidPayloadError:
            raise
        except RecursionError:
            raise too_deep() from None
        except UnicodeEncodeError as exc:
            raise InvalidPayloadError("the payload holds text that is not valid Unicode (a lone surrogate)") from exc
        except _ENCODING_ERRORS as exc:
            raise InvalidPayloadError(f"the payload is no {type_name(payload_type)} that can be stored: {exc}") from exc
        return body

    def decode_checked(body: bytes) -> Any:
        try:
            return decode(body)
        except RecursionError:
            raise too_deep() from None
        except _DECODING_ERRORS as exc:
            raise InvalidPayloadError(f"the stored payload is no {type_name(payload_type)}: {exc}") from exc

    return Codec(encode_checked, decode_checked)


def _has_unknown_class(payload_type: Any) -> bool:
    """Return whether msgspec would need hooks for a class in this type: it then passes at binding and fails at use."""
    try:
        unseen: list[Any] = [msgspec.inspect.type_info(payload_type)]
    except (TypeError, NameError, AttributeError):
        return False
    seen: set[int] = set()  # types may hold themselves
    while unseen:
        part = unseen.pop()
        if isinstance(part, msgspec.inspect.CustomType):
            return True
        if isinstance(part, (tuple, list)):
            unseen += part
        elif isinstance(part, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(part) not in seen:
            seen.add(id(part))
            unseen += [getattr(part, name) for name in part.__struct_fields__]
    return False


def _unsupported(payload_type: Any) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"payload_type {type_name(payload_type)} cannot be stored as JSON or MessagePack: "
        'make it a dataclass, or pass event_serializer="pickle" if you trust everyone who can write to the queue'
    )
