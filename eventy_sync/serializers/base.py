"""The interface of serializers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Codec:
    """A serializer bound to one payload type: two plain functions, both thread safe.

    Both raise `InvalidPayloadError` for what is not of the type.
    """

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


class Serializer(ABC):
    """Turns payloads into bytes.  Derive from it to store payloads in a format of your own.

    `encoding` is the name that is written into each record.  "json" means that the bytes are one JSON
    value in UTF-8 without a line feed; any other name is stored in base64.
    """

    encoding: str

    @abstractmethod
    def bind(self, payload_type: Any) -> Codec:
        """Return the codec for a payload type.

        Raises:
            InvalidArgumentError: this serializer cannot do the type.
        """
