"""What is acknowledged can be read: no payload may break the record it goes into."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict

from eventy_sync import Codec, FileEventQueue, InvalidArgumentError, InvalidPayloadError, Serializer

BEYOND_ITS_PLACE = b'1},"id":99,"x":{"b":2'
BEYOND_ITS_PLACE_WITH_A_GAP = b'1},"gap":50,"x":{"b":2'


@pytest.mark.parametrize(
    "raw",
    [b"", b"{broken", b"1 2", b"NaN", b"\xff", b'"\xff"', BEYOND_ITS_PLACE, BEYOND_ITS_PLACE_WITH_A_GAP],
)
@pytest.mark.parametrize("wrap", [lambda raw: raw, lambda raw: {"a": raw}])
def test_raw_json_that_is_none_is_refused(root: Path, raw: bytes, wrap: Any) -> None:
    """Nothing is written, and the events around it keep their ids."""
    with FileEventQueue(root, Any) as queue:
        queue.publish(1)
        with pytest.raises(InvalidPayloadError, match="payload"):
            queue.publish(wrap(msgspec.Raw(raw)))
        queue.publish(2)
        assert [(event.id, event.payload) for event in queue.iter_events()] == [(1, 1), (2, 2)]


class Constants(BaseModel):
    """Pydantic writes NaN as it is for this one, which is no JSON."""

    model_config = ConfigDict(ser_json_inf_nan="constants")
    x: float


def test_a_model_that_writes_nan_as_a_constant_is_refused(root: Path) -> None:
    """NaN is no JSON, whatever the model's settings say."""
    with FileEventQueue(root, Constants) as queue:
        with pytest.raises(InvalidPayloadError, match="NaN"):
            queue.publish(Constants(x=math.nan))
        assert queue.count_events() == 0


class Fixed(Serializer):
    """Encodes everything as the same thing."""

    def __init__(self, body: Any, encoding: Any = "json") -> None:
        self.body, self.encoding = body, encoding

    def bind(self, payload_type: Any) -> Codec:
        return Codec(lambda payload: self.body, lambda body: body)


@pytest.mark.parametrize("body", [b"{\n}", b"{", b"", b"1}\n", b'1,"id":9', b"NaN", "text", None])
def test_what_a_serializer_of_ones_own_wrongly_calls_json_is_refused(root: Path, body: Any) -> None:
    """It promised one JSON value on one line; nothing else may reach the log."""
    with FileEventQueue(root, dict, event_serializer=Fixed(body)) as queue:
        with pytest.raises(InvalidPayloadError, match="payload"):
            queue.publish({})
        assert queue.count_events() == 0


@pytest.mark.parametrize("encoding", [None, 5, "", 'a"b\n', "x" * 5000, "\ud800"])
def test_an_encoding_that_is_no_name_is_refused(root: Path, encoding: Any) -> None:
    """When the queue is made, and not by an event that cannot be read back."""
    with pytest.raises(InvalidArgumentError, match="encoding"):
        FileEventQueue(root, dict, event_serializer=Fixed(b"x", encoding))


class Nameless(Serializer):
    """Forgot its encoding."""

    def bind(self, payload_type: Any) -> Codec:
        return Codec(bytes, bytes)


def test_a_serializer_without_an_encoding_is_refused(root: Path) -> None:
    """The error names the attribute to define."""
    with pytest.raises(InvalidArgumentError, match="encoding"):
        FileEventQueue(root, dict, event_serializer=Nameless())


class Unreadable(Serializer):
    """Cannot read one of the payloads it wrote, and says so in its own way."""

    encoding = "unreadable"

    def bind(self, payload_type: Any) -> Codec:
        return Codec(str.encode, {b"a": "a", b"c": "c"}.__getitem__)


def test_an_event_that_cannot_be_decoded_does_not_end_delivery(root: Path) -> None:
    """Whatever a decoder raises, the events after it are delivered, and the failure is a result."""
    seen: list[str] = []
    with FileEventQueue(root, str, event_serializer=Unreadable()) as queue:
        queue.publish_many(["a", "b", "c"])
        queue.subscribe(lambda event: seen.append(event.payload), from_index=1)
        assert queue.wait_until_idle(5)
        assert seen == ["a", "c"]
        assert [result.success for result in queue.search_results(event_id__eq=2).items] == [False]
