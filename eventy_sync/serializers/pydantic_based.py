"""JSON by pydantic, for pydantic models and whatever a TypeAdapter takes."""

from __future__ import annotations

from typing import Any

from eventy_sync.errors import InvalidArgumentError, InvalidPayloadError
from eventy_sync.serializers.base import Codec, Serializer
from eventy_sync.serializers.limits import check_json, too_deep
from eventy_sync.serializers.payload_types import accepted_classes, type_name, wrong_type


class PydanticSerializer(Serializer):
    """JSON by pydantic; "json" chooses it by itself for a pydantic model."""

    encoding = "json"

    def bind(self, payload_type: Any) -> Codec:
        try:
            from pydantic import PydanticUserError, TypeAdapter, ValidationError
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
                body = bytes(adapter.dump_json(payload, warnings="error"))
                check_json(body)
                adapter.validate_json(body, strict=None)
            except RecursionError:
                raise too_deep() from None
            except InvalidPayloadError:
                raise
            except ValueError as exc:  # ValidationError and PydanticSerializationError are
                raise InvalidPayloadError(
                    f"the payload is no {type_name(payload_type)} that can be stored: {_reason(exc)}"
                ) from exc
            return body

        def decode(body: bytes) -> Any:
            try:
                return adapter.validate_json(body)
            except ValidationError as exc:
                raise InvalidPayloadError(
                    f"the stored payload is no {type_name(payload_type)}: {_reason(exc)}"
                ) from exc

        return Codec(encode, decode)


def _reason(exc: Exception) -> str:
    """Return what is wrong without the values, which pydantic's own text would show."""
    errors = getattr(exc, "errors", None)
    if errors is None:
        return type(exc).__name__
    found = errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'payload'}: {each['msg']}" for each in found[:3])
