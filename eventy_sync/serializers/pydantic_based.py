"""JSON by pydantic, for pydantic models and whatever a TypeAdapter takes."""

from __future__ import annotations

from typing import Any

import msgspec

from eventy_sync.errors import InvalidArgumentError, InvalidPayloadError
from eventy_sync.serializers.base import Codec, Serializer
from eventy_sync.serializers.limits import check_json, too_deep
from eventy_sync.serializers.payload_types import accepted_classes, type_name, wrong_type
from eventy_sync.serializers.reasons import pydantic_reason
from eventy_sync.serializers.wholeness import is_same


class PydanticSerializer(Serializer):
    """JSON by pydantic; "json" chooses it by itself for a pydantic model."""

    encoding = "json"

    def bind(self, payload_type: Any) -> Codec:
        try:
            from pydantic import PydanticUserError, TypeAdapter
        except ImportError:
            raise InvalidArgumentError('pydantic is not installed: pip install "eventy-sync[pydantic]"') from None
        try:
            adapter: Any = TypeAdapter(payload_type)
        except PydanticUserError as exc:
            raise InvalidArgumentError(f"pydantic cannot store a {type_name(payload_type)}: {exc.message}") from exc
        classes = accepted_classes(payload_type)

        def encode(payload: Any) -> bytes:
            if classes is not None and type(payload) not in classes:
                raise wrong_type(payload, payload_type)
            try:
                body = bytes(adapter.dump_json(payload, warnings="error", round_trip=True, by_alias=True))
                _check(body)
                back = adapter.validate_json(body)
            except InvalidPayloadError:
                raise
            except RecursionError:
                raise too_deep() from None
            except Exception as exc:  # a user's validator may raise anything
                raise InvalidPayloadError(
                    f"the payload is no {type_name(payload_type)} that can be stored: {pydantic_reason(exc, adapter)}"
                ) from None
            if not is_same(payload, back):
                raise InvalidPayloadError(
                    f"the payload would not come back whole as a {type_name(payload_type)}: it holds NaN, a secret, "
                    "a subclass, or a field that is excluded or changed when the model is written or read"
                )
            return body

        def decode(body: bytes) -> Any:
            try:
                return adapter.validate_json(body)
            except RecursionError:
                raise too_deep() from None
            except Exception as exc:
                raise InvalidPayloadError(
                    f"the stored payload is no {type_name(payload_type)}: {pydantic_reason(exc, adapter)}"
                ) from None

        return Codec(encode, decode)


def _check(body: bytes) -> None:
    """Raise InvalidPayloadError if this is too large, too deep, or what pydantic but nobody else calls JSON."""
    check_json(body)
    if b"NaN" in body or b"Infinity" in body:
        try:
            msgspec.json.decode(body)
        except msgspec.DecodeError:
            raise InvalidPayloadError("the payload holds NaN or an infinity, which JSON cannot: use None") from None
