"""Serializers by name."""

from __future__ import annotations

from typing import Any

from eventy_sync.errors import InvalidArgumentError
from eventy_sync.serializers.base import Serializer
from eventy_sync.serializers.distrusted import DistrustedSerializer
from eventy_sync.serializers.msgspec_based import JsonSerializer, MessagePackSerializer
from eventy_sync.serializers.pickle_based import PickleSerializer
from eventy_sync.serializers.pydantic_based import PydanticSerializer

_BY_NAME: dict[str, type[Serializer]] = {
    "json": JsonSerializer,
    "msgpack": MessagePackSerializer,
    "pydantic": PydanticSerializer,
    "pickle": PickleSerializer,
}


def get_serializer(spec: str | Serializer, payload_type: Any) -> Serializer:
    """Return the serializer of this name, or the one that is given.  "json" is pydantic's for a pydantic model.

    Raises:
        InvalidArgumentError: there is none of this name, or the one that is given has no usable name.
    """
    if isinstance(spec, Serializer):
        return spec if type(spec) in _BY_NAME.values() else DistrustedSerializer(spec)
    if spec == "json" and hasattr(payload_type, "model_validate_json"):
        return PydanticSerializer()
    chosen = _BY_NAME.get(spec) if isinstance(spec, str) else None
    if chosen is None:
        raise InvalidArgumentError(f"there is no serializer {spec!r:.50}: use {', '.join(_BY_NAME)}, or a Serializer")
    return chosen()
