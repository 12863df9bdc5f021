"""Pickle: anything Python can pickle, for directories that only trusted programs can write to."""

from __future__ import annotations

import pickle
from typing import Any

from eventy_sync.errors import InvalidPayloadError
from eventy_sync.serializers.base import Codec, Serializer
from eventy_sync.serializers.limits import check_size, too_deep
from eventy_sync.serializers.payload_types import accepted_classes, type_name, wrong_type


class PickleSerializer(Serializer):
    """Pickle.  Reading a pickle runs code that its writer chose: whoever can write to the queue owns its readers."""

    encoding = "pickle"

    def bind(self, payload_type: Any) -> Codec:
        classes = accepted_classes(payload_type)

        def encode(payload: Any) -> bytes:
            if classes is not None and not isinstance(payload, classes):
                raise wrong_type(payload, payload_type)
            try:
                body = pickle.dumps(payload, protocol=4)
            except RecursionError:
                raise too_deep() from None
            except Exception as exc:  # pickle's own text quotes what it could not pickle
                raise InvalidPayloadError(
                    f"the payload cannot be pickled ({type(exc).__name__}): use classes and functions of a module only"
                ) from None
            check_size(body)
            return body

        def decode(body: bytes) -> Any:
            try:
                payload = pickle.loads(body)
            except Exception as exc:
                raise InvalidPayloadError(f"the stored payload cannot be unpickled: {type(exc).__name__}") from None
            if classes is not None and not isinstance(payload, classes):
                raise InvalidPayloadError(f"the stored payload is no {type_name(payload_type)}")
            return payload

        return Codec(encode, decode)
