"""The interface of serializers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Codec:
    """A serializer bound to one payload type: plain functions, all thread safe.

    They raise `InvalidPayloadError` for what is not of the type.  `encode_all` does what `encode` does to
    each of a list; give one where that takes less time than as many calls.
    """

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    encode_all: Callable[[Sequence[Any]], list[bytes]] | None = None


class Serializer(ABC):
    """Turns payloads into bytes.  Derive from it to store payloads in a format of your own.

    `encoding` is the name that is written into each record: up to 64 letters, digits and ``.+_-``.
    "json" means that the bytes are one JSON value in UTF-8 without a line feed; any other name is stored
    in base64.  What a serializer returns is checked for that, and whatever its functions raise becomes an
    `InvalidPayloadError`.
    """

    encoding: str

    @abstractmethod
    def bind(self, payload_type: Any) -> Codec:
        """Return the codec for a payload type.

        Raises:
            InvalidArgumentError: this serializer cannot do the type.
        """
