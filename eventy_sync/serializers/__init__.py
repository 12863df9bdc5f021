"""Payloads to bytes and back, checked against the payload type both ways.

JSON by msgspec is the default; nothing in a JSON, MessagePack or pydantic payload can make the library
import or run anything.  Pickle can, and is used only where it is asked for by name.
"""

from eventy_sync.serializers.base import Codec, Serializer
from eventy_sync.serializers.choice import get_serializer
from eventy_sync.serializers.limits import MAX_DEPTH, MAX_PAYLOAD_BYTES
from eventy_sync.serializers.msgspec_based import JsonSerializer, MessagePackSerializer
from eventy_sync.serializers.pickle_based import PickleSerializer
from eventy_sync.serializers.pydantic_based import PydanticSerializer

__all__ = [
    "MAX_DEPTH",
    "MAX_PAYLOAD_BYTES",
    "Codec",
    "JsonSerializer",
    "MessagePackSerializer",
    "PickleSerializer",
    "PydanticSerializer",
    "Serializer",
    "get_serializer",
]
