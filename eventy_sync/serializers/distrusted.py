"""A serializer that others wrote: what it returns is checked before it may go into the log."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from eventy_sync.errors import InvalidArgumentError, InvalidPayloadError
from eventy_sync.serializers.base import Codec, Serializer
from eventy_sync.serializers.limits import check_size
from eventy_sync.serializers.reasons import reason

_NAME = re.compile(r"[A-Za-z0-9.+_-]{1,64}")


class DistrustedSerializer(Serializer):
    """Does as another serializer does, and keeps its mistakes out of the log.

    Raises:
        InvalidArgumentError: `encoding` is no name.
    """

    def __init__(self, inner: Serializer) -> None:
        encoding = getattr(inner, "encoding", None)
        if not isinstance(encoding, str) or not _NAME.fullmatch(encoding):
            raise InvalidArgumentError(
                f"{type(inner).__name__} must have an encoding: its name, of up to 64 letters, digits and .+_-"
            )
        self._inner, self.encoding = inner, encoding

    def bind(self, payload_type: Any) -> Codec:
        codec = self._inner.bind(payload_type)
        encode, decode = codec.encode, codec.decode
        name, is_json = type(self._inner).__name__, self.encoding == "json"

        def encode_checked(payload: Any) -> bytes:
            try:
                body = encode(payload)
            except InvalidPayloadError:
                raise
            except Exception as exc:
                raise InvalidPayloadError(f"{name} cannot encode the payload: {reason(exc)}") from exc
            if not isinstance(body, bytes):
                raise InvalidPayloadError(f"{name} must encode the payload as bytes, not {type(body).__name__}")
            check_size(body)
            if is_json and not _is_json_line(body):
                raise InvalidPayloadError(
                    f"{name} has the encoding json, but did not encode the payload as one JSON value on one line"
                )
            return body

        def decode_checked(body: bytes) -> Any:
            try:
                return decode(body)
            except InvalidPayloadError:
                raise
            except Exception as exc:
                raise InvalidPayloadError(f"{name} cannot decode the stored payload: {reason(exc)}") from exc

        return Codec(encode_checked, decode_checked)


def _is_json_line(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return b"\n" not in body
