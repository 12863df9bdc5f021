"""Less common payload types: what fits them goes through, what does not is refused, not bent."""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, timedelta
from typing import Any, NamedTuple, NewType

import msgspec
import pytest

from eventy_sync import Codec, InvalidArgumentError, InvalidPayloadError
from eventy_sync.serializers import JsonSerializer, get_serializer

UserId = NewType("UserId", int)


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: int


class Paid(msgspec.Struct, tag="paid"):
    total: int


class Sent(msgspec.Struct, tag="sent"):
    total: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    day: date
    length: timedelta
    levels: set[Level]
    at: Point | None = None
    totals: dict[int, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class Slotted:
    id: int


SHIFT = Shift(day=date(2026, 1, 1), length=timedelta(hours=8), levels={Level.LOW}, at=Point(1, 2), totals={7: 0.5})


def codec(payload_type: Any, name: str = "json") -> Codec:
    return get_serializer(name, payload_type).bind(payload_type)


@pytest.mark.parametrize("name", ["json", "msgpack", "pickle"])
@pytest.mark.parametrize(
    ("payload_type", "payload"),
    [
        (UserId, UserId(5)),
        (Point, Point(1, 2)),
        (Shift, SHIFT),
        (Level, Level.LOW),
        (Paid | Sent, Sent(3)),
        (int | str, "5"),
        (int | bool, True),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (dict[str, list[Shift]], {"night": [SHIFT]}),
        (int, 2**64 - 1),
    ],
)
def test_a_less_common_type_comes_back_as_it_was(name: str, payload_type: Any, payload: Any) -> None:
    """Equal, and of the same class."""
    bound = codec(payload_type, name)
    read = bound.decode(bound.encode(payload))
    assert read == payload
    assert type(read) is type(payload)


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_a_whole_number_is_taken_as_a_float(name: str) -> None:
    """And comes back as one; True is not a number."""
    bound = codec(float, name)
    assert type(bound.decode(bound.encode(1))) is float
    with pytest.raises(InvalidPayloadError, match="of type float, not bool"):
        bound.encode(True)


@pytest.mark.parametrize("name", ["json", "msgpack"])
@pytest.mark.parametrize(
    ("payload_type", "payload"),
    [
        (UserId, True),
        (UserId, "5"),
        (Point, (1, 2)),
        (int | str, True),
        (int | None, 1.0),
        (list[int], [True]),
        (list[int], (1,)),
        (tuple[int, str], (1,)),
        (dict[str, int], {"a": True}),
        (Paid | Sent, Shift),
        (type(None), 0),
        (str, None),
    ],
)
def test_what_only_looks_like_the_type_is_refused(name: str, payload_type: Any, payload: Any) -> None:
    """True is no int, a number no text, a tuple no list."""
    with pytest.raises(InvalidPayloadError, match="payload"):
        codec(payload_type, name).encode(payload)


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_an_instance_without_its_fields_is_refused(name: str) -> None:
    """A field that was deleted cannot be stored."""
    payload = Slotted(1)
    del payload.id
    with pytest.raises(InvalidPayloadError, match="missing required field `id`"):
        codec(Slotted, name).encode(payload)


@pytest.mark.parametrize("key", [None, True, (1, 2), b"a", 1.5])
def test_what_json_has_no_key_for_is_refused_or_text(key: Any) -> None:
    """A key that JSON can hold comes back as text, as the module says."""
    bound = codec(dict)
    try:
        body = bound.encode({key: 1})
    except InvalidPayloadError:
        return
    assert all(isinstance(each, str) for each in bound.decode(body))


@pytest.mark.parametrize("name", ["", "JSON", "yaml", "x" * 5000, None, 5, ["json"], JsonSerializer, b"json"])
def test_what_is_no_serializer_is_refused(name: Any) -> None:
    """Names are matched exactly, a class is no serializer; the error lists the names and stays short."""
    with pytest.raises(InvalidArgumentError, match="use json, msgpack, pydantic, pickle, or a Serializer") as refused:
        get_serializer(name, dict)
    assert len(str(refused.value)) < 200
