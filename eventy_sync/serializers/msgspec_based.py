"""JSON and MessagePack by msgspec, for builtins, dataclasses, TypedDicts, attrs and msgspec structs.

What a type without fields of its own (dict, list, Any) holds comes back as the format has it: in JSON,
keys as text, tuples as lists, bytes and times as text.  Give fields types to get them back as they were.
What would come back as less than it was is refused.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import msgspec

from eventy_sync.errors import InvalidArgumentError, InvalidPayloadError
from eventy_sync.serializers.base import Codec, Serializer
from eventy_sync.serializers.limits import MAX_DEPTH, MAX_PAYLOAD_BYTES, check_depth, check_json, check_size, too_deep
from eventy_sync.serializers.payload_types import PLAIN_TYPES, acceptor, is_any, type_name, wrong_type
from eventy_sync.serializers.reasons import reason
from eventy_sync.serializers.wholeness import is_same

_LINE_FEED = ord("\n")
_FLAT = frozenset({str, int, float, bool, type(None)})


class _MsgspecSerializer(Serializer):
    """What both formats share."""

    _format: Any
    """msgspec's module for the format: it has an Encoder and a Decoder."""
    _shallow_bytes: int
    """What is no longer can be neither too deep nor too large: as many bytes as `MAX_DEPTH` levels take."""

    def __init__(self) -> None:
        self._encode_sorted = self._format.Encoder(order="deterministic").encode
        self._decode_plainly = self._format.Decoder().decode

    @abstractmethod
    def _check_limits(self, body: bytes) -> None:
        """Raise InvalidPayloadError if this is too large or too deep."""

    def _check(self, payload: Any, body: bytes) -> None:
        """Raise InvalidPayloadError if the format cannot hold the payload, or it is too large or too deep."""
        if len(body) > self._shallow_bytes:
            self._check_limits(body)

    @abstractmethod
    def _has_key_twice(self, body: bytes) -> bool:
        """Return whether two keys of a dict have become one."""

    def bind(self, payload_type: Any) -> Codec:
        is_accepted = acceptor(payload_type)
        decode = self._decoder(payload_type)
        encode = self._format.Encoder().encode
        shallow_bytes = self._shallow_bytes
        comes_back_equal = is_any(payload_type) or payload_type in PLAIN_TYPES

        def check(payload: Any, body: bytes) -> None:
            self._check(payload, body)
            back = decode(body)
            if encode(back) != body and not self._says_the_same(payload, back):
                raise InvalidPayloadError(
                    f"the payload would not come back whole as a {type_name(payload_type)}: "
                    "it has fields or keys that the type does not, or two keys that are the same text"
                )

        def encode_checked(payload: Any) -> bytes:
            if type(payload) is not payload_type and not is_accepted(payload):
                raise wrong_type(payload, payload_type)
            try:
                body: bytes = encode(payload)
                if comes_back_equal:
                    try:
                        if decode(body) == payload:
                            if len(body) > shallow_bytes:
                                self._check_limits(body)
                            return body
                    except Exception:  # what follows says what it is
                        pass
                check(payload, body)
            except InvalidPayloadError:
                raise
            except RecursionError:
                raise too_deep() from None
            except Exception as exc:  # a user's class may raise anything
                raise InvalidPayloadError(
                    f"the payload is no {type_name(payload_type)} that can be stored: {reason(exc)}"
                ) from None
            return body

        def decode_checked(body: bytes) -> Any:
            try:
                return decode(body)
            except RecursionError:
                raise too_deep() from None
            except Exception as exc:
                raise InvalidPayloadError(
                    f"the stored payload is no {type_name(payload_type)}: {reason(exc)}"
                ) from None

        return Codec(encode_checked, decode_checked)

    def _decoder(self, payload_type: Any) -> Any:
        if is_any(payload_type):
            return self._decode_plainly
        try:
            decode = self._format.Decoder(payload_type).decode
        except (TypeError, NameError) as exc:
            raise _unsupported(payload_type) from exc
        _check_classes(payload_type)
        return decode

    def _says_the_same(self, payload: Any, back: Any) -> bool:
        """Return whether two values are encoded the same, but for the order of sets and the kind of numbers."""
        try:
            given, again = self._encode_sorted(payload), self._encode_sorted(back)
        except TypeError:  # sets of several types cannot be sorted
            return bool(back == payload)
        return not self._has_key_twice(given) and is_same(self._decode_plainly(given), self._decode_plainly(again))


class JsonSerializer(_MsgspecSerializer):
    """JSON.  NaN and infinities have no JSON and are refused."""

    encoding = "json"
    _format = msgspec.json
    _shallow_bytes = 2 * MAX_DEPTH

    def bind(self, payload_type: Any) -> Codec:
        codec = super().bind(payload_type)
        is_flat_at_times = is_any(payload_type) or payload_type is dict
        return replace(codec, encode_all=_batch_encoder(codec.encode)) if is_flat_at_times else codec

    def _check_limits(self, body: bytes) -> None:
        check_json(body)

    def _check(self, payload: Any, body: bytes) -> None:
        super()._check(payload, body)
        if _LINE_FEED in body:  # only a msgspec.Raw can bring one in
            raise InvalidPayloadError("the payload's JSON holds a line feed: encode it without line breaks")
        if b"null" in body and not _is_finite(msgspec.to_builtins(payload, enc_hook=_ignore)):
            raise InvalidPayloadError("the payload holds NaN or an infinity, which JSON cannot: use None or a string")

    def _has_key_twice(self, body: bytes) -> bool:
        if msgspec.json.encode(self._decode_plainly(body)) == body:
            return False
        try:
            json.loads(body, object_pairs_hook=_refuse_key_twice)
        except KeyError:
            return True
        return False


class MessagePackSerializer(_MsgspecSerializer):
    """MessagePack: smaller for binary data, and NaN is allowed; the log is no longer readable with ordinary tools."""

    encoding = "msgpack"
    _format = msgspec.msgpack
    _shallow_bytes = MAX_DEPTH

    def _check_limits(self, body: bytes) -> None:
        check_size(body)
        check_depth(msgspec.msgpack.decode(body, strict=False))

    def _has_key_twice(self, body: bytes) -> bool:
        return bool(msgspec.msgpack.encode(self._decode_plainly(body)) != body)


def _batch_encoder(encode_one: Callable[[Any], bytes]) -> Callable[[Sequence[Any]], list[bytes]]:
    """Return a function that encodes many dicts, and checks them all at once if they are flat."""
    encode = msgspec.json.Encoder().encode

    def encode_all(payloads: Sequence[Any]) -> list[bytes]:
        kinds = _kinds_of_flat(payloads)
        if kinds is not None:
            try:
                bodies = list(map(encode, payloads))
                if max(map(len, bodies)) <= MAX_PAYLOAD_BYTES and not (float in kinds and b"null" in b"".join(bodies)):
                    return bodies
            except Exception:  # the one that it is will be refused below
                pass
        return [encode_one(payload) for payload in payloads]

    return encode_all


def _kinds_of_flat(payloads: Sequence[Any]) -> set[type] | None:
    """Return the types of the dicts' values if these are dicts that JSON can hold whole, NaN apart; else None."""
    if set(map(type, payloads)) != {dict} or not set(map(type, chain.from_iterable(payloads))) <= {str}:
        return None
    kinds = set(map(type, chain.from_iterable(map(dict.values, payloads))))
    return kinds if kinds <= _FLAT else None


def _refuse_key_twice(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise KeyError


def _ignore(value: Any) -> None:
    """Stand in for what to_builtins does not know: a msgspec.Raw, which cannot hold NaN if it is JSON."""


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_is_finite(key) and _is_finite(child) for key, child in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_finite(child) for child in value)
    return True


def _check_classes(payload_type: Any) -> None:
    """Refuse classes that msgspec passes when a decoder is made, and then fails on or stores in part.

    Raises:
        InvalidArgumentError: one is unknown to msgspec, or has fields that it passes over.
    """
    try:
        unseen: list[Any] = [msgspec.inspect.type_info(payload_type)]
    except (TypeError, NameError, AttributeError):
        return
    seen: set[int] = set()  # types may hold themselves
    while unseen:
        part = unseen.pop()
        if isinstance(part, msgspec.inspect.CustomType):
            raise _unsupported(payload_type)
        if isinstance(part, (tuple, list)):
            unseen += part
        elif isinstance(part, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(part) not in seen:
            seen.add(id(part))
            _check_attrs(getattr(part, "cls", None))
            unseen += [getattr(part, name) for name in part.__struct_fields__]


def _check_attrs(cls: Any) -> None:
    for attribute in getattr(cls, "__attrs_attrs__", ()):
        if attribute.name.startswith("_"):
            raise InvalidArgumentError(
                f"the field {attribute.name} of {type_name(cls)} would not be stored, for its name begins with _: "
                "rename it, or make the class a dataclass"
            )


def _unsupported(payload_type: Any) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"payload_type {type_name(payload_type)} cannot be stored as JSON or MessagePack: "
        'make it a dataclass, or pass event_serializer="pickle" if you trust everyone who can write to the queue'
    )
