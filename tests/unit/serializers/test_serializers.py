"""Payloads go in checked and come out as they were; what cannot be stored is refused in one sentence."""

from __future__ import annotations

import dataclasses
import enum
import math
import pickle
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Generic, Literal, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from eventy_sync import Codec, InvalidArgumentError, InvalidPayloadError, Serializer
from eventy_sync.serializers import MAX_PAYLOAD_BYTES, get_serializer

T = TypeVar("T")
SECRET = "hunter2-never-in-an-error"


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Inner:
    n: int


@dataclasses.dataclass
class Order:
    id: int
    note: str | None = None
    inner: Inner | None = None


@dataclasses.dataclass
class SpecialOrder(Order):
    discount: float = 0.5


@dataclasses.dataclass
class Rich:
    at: datetime
    key: uuid.UUID
    price: Decimal
    colour: Colour
    raw: bytes


class Typed(TypedDict):
    id: int


@attrs.define
class Attrs:
    id: int


class Struct(msgspec.Struct):
    id: int


@dataclasses.dataclass
class Tree:
    children: list[Tree]


class Box(msgspec.Struct, Generic[T]):
    content: T


class Model(pydantic.BaseModel):
    id: int
    at: datetime


RICH = Rich(datetime(2026, 1, 1, tzinfo=timezone.utc), uuid.UUID(int=7), Decimal("1.50"), Colour.RED, b"\x00\xff\n")


def codec(payload_type: Any, name: str = "json") -> Codec:
    return get_serializer(name, payload_type).bind(payload_type)


@pytest.mark.parametrize("name", ["json", "msgpack", "pickle"])
@pytest.mark.parametrize(
    ("payload_type", "payload"),
    [
        (dict, {"a": [1, 2.5, None, True, "é\u2028\n\x00"]}),
        (list, [1, "two", [3]]),
        (str, "a\nb"),
        (str, ""),
        (int, -(2**63)),
        (bytes, b"\x00\xff\n"),
        (float, 1.5),
        (bool, True),
        (type(None), None),
        (Any, {"anything": [1]}),
        (Tree, Tree([Tree([])])),
        (Order, Order(1, "x", Inner(2))),
        (Rich, RICH),
        (Typed, {"id": 1}),
        (Attrs, Attrs(1)),
        (Struct, Struct(1)),
        (Box[int], Box(1)),
        (dict[str, int], {"a": 1}),
        (list[Order], [Order(1), Order(2)]),
        (Order | None, None),
        (Order | None, Order(1)),
        (Literal["a", "b"], "a"),
    ],
)
def test_a_payload_comes_back_as_it_was(name: str, payload_type: Any, payload: Any) -> None:
    """Equal, and of the same class."""
    bound = codec(payload_type, name)
    read = bound.decode(bound.encode(payload))
    assert read == payload
    assert type(read) is type(payload)


def test_a_pydantic_model_chooses_its_serializer() -> None:
    """JSON by name, pydantic by the type."""
    bound = codec(Model)
    model = Model(id=1, at=datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert bound.decode(bound.encode(model)) == model
    with pytest.raises(InvalidPayloadError, match="of type Model, not dict"):
        bound.encode({"id": 1})
    with pytest.raises(InvalidPayloadError, match="stored payload is no Model: at: Field required"):
        bound.decode(b'{"id": 1}')


def deep(levels: int, wrap: Callable[[Any], Any] = lambda inner: [inner]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def containing_itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("name", ["json", "msgpack"])
@pytest.mark.parametrize(
    ("payload_type", "payload"),
    [
        (Order, {"id": 1}),
        (Order, SpecialOrder(1)),
        (Order, Order(SECRET)),  # type: ignore[arg-type]
        (Order, Order(1, inner=Inner(SECRET))),  # type: ignore[arg-type]
        (int, True),
        (int, "1"),
        (str, b"x"),
        (dict, [1]),
        (dict[str, int], {"a": SECRET}),
        (Typed, {"id": SECRET}),
        (Struct, Struct(SECRET)),  # type: ignore[arg-type]
        (Attrs, Attrs(SECRET)),  # type: ignore[arg-type]
        (Any, object()),
        (Any, {"f": print}),
        (str, "\ud800" + SECRET),
        (dict, {"\ud800": 1}),
        (list, deep(101)),
        (dict, deep(101, lambda inner: {"a": inner})),
        (list, deep(100_000)),
        (list, containing_itself()),
    ],
)
def test_what_cannot_be_stored_is_refused(name: str, payload_type: Any, payload: Any) -> None:
    """One error, which never shows the payload."""
    with pytest.raises(InvalidPayloadError) as refused:
        codec(payload_type, name).encode(payload)
    assert SECRET not in str(refused.value)
    assert "payload" in str(refused.value)


def test_a_hundred_levels_are_allowed() -> None:
    """The limit itself is within."""
    bound = codec(list)
    assert bound.decode(bound.encode(deep(100))) == deep(100)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: {"a": {"b": [None, x]}}, lambda x: [[], (1, x)]])
def test_numbers_that_json_lacks_are_refused(number: float, wrap: Callable[[float], Any]) -> None:
    """At every depth; MessagePack takes them."""
    with pytest.raises(InvalidPayloadError, match="NaN or an infinity"):
        codec(Any).encode(wrap(number))
    codec(Any, "msgpack").encode(wrap(number))


def test_none_beside_finite_numbers_is_no_nan() -> None:
    """`null` in the text alone refuses nothing."""
    bound = codec(Any)
    assert bound.decode(bound.encode({"null": None, "a": 1.0})) == {"null": None, "a": 1.0}


@pytest.mark.parametrize("name", ["json", "msgpack", "pickle"])
def test_the_largest_payload_is_the_last_that_fits(name: str) -> None:
    """A byte more is refused, with what to do instead."""
    bound = codec(str, name)
    overhead = len(bound.encode("x" * (MAX_PAYLOAD_BYTES - 100))) - (MAX_PAYLOAD_BYTES - 100)
    bound.encode("x" * (MAX_PAYLOAD_BYTES - overhead))
    with pytest.raises(InvalidPayloadError, match="store it elsewhere"):
        bound.encode("x" * (MAX_PAYLOAD_BYTES - overhead + 1))


def test_raw_json_with_a_line_feed_is_refused() -> None:
    """A record is one line, whatever brings the text."""
    bound = codec(Any)
    bound.encode({"a": msgspec.Raw(b'{"b":1}')})
    with pytest.raises(InvalidPayloadError, match="line feed"):
        bound.encode({"a": msgspec.Raw(b'{\n"b":1}')})


@pytest.mark.parametrize(
    ("payload_type", "body"),
    [(Order, b'{"id":"x"}'), (Order, b"{}"), (dict, b"[]"), (str, b'"\xff"'), (int, b"true"), (Any, b"{"), (list, b"")],
)
def test_what_was_stored_is_checked_when_read(payload_type: Any, body: bytes) -> None:
    """Another type's event, invalid UTF-8 and broken JSON are all InvalidPayloadErrors."""
    with pytest.raises(InvalidPayloadError, match="stored payload"):
        codec(payload_type).decode(body)


def test_deep_nesting_on_disk_does_not_crash_the_reader() -> None:
    """A hundred thousand brackets are refused like any other bad payload."""
    with pytest.raises(InvalidPayloadError):
        codec(Any).decode(b"[" * 100_000 + b"]" * 100_000)


class NeverToBeMade:
    """Unpickling this would show itself."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('code ran')",))


def test_a_pickle_is_opened_by_the_pickle_serializer_only() -> None:
    """Bytes of a pickle are no JSON and no MessagePack."""
    body = pickle.dumps(NeverToBeMade())
    for name in ("json", "msgpack"):
        with pytest.raises(InvalidPayloadError):
            codec(Any, name).decode(body)


def test_a_damaged_pickle_is_an_invalid_payload() -> None:
    """So is one of a class that is gone."""
    bound = codec(Any, "pickle")
    for body in (b"", b"\x80\x04", b"cno_such_module\nThing\n."):
        with pytest.raises(InvalidPayloadError, match="stored payload"):
            bound.decode(body)
    with pytest.raises(InvalidPayloadError, match="cannot be pickled"):
        bound.encode(lambda: None)


class Plain:
    """A class without fields."""


@dataclasses.dataclass
class Holder:
    """A class with a field that cannot be stored."""

    plain: Plain


@pytest.mark.parametrize("name", ["json", "msgpack"])
@pytest.mark.parametrize("payload_type", [Plain, list[Plain], dict[str, Plain | None], Holder, complex])
def test_a_type_that_cannot_be_stored_is_refused_at_once(name: str, payload_type: Any) -> None:
    """Not at the first publish; the error names the ways out."""
    with pytest.raises(InvalidArgumentError, match="make it a dataclass"):
        codec(payload_type, name)


def test_an_unknown_serializer_is_refused() -> None:
    """The error lists the names there are."""
    with pytest.raises(InvalidArgumentError, match="msgpack"):
        get_serializer("yaml", dict)


class Reversed(Serializer):
    """Text, backwards."""

    encoding = "reversed"

    def bind(self, payload_type: Any) -> Codec:
        return Codec(lambda text: text[::-1].encode(), lambda body: body.decode()[::-1])


def test_a_serializer_of_ones_own_is_taken_as_it_is() -> None:
    """An instance goes where a name does."""
    bound = get_serializer(Reversed(), str).bind(str)
    assert bound.decode(bound.encode("abc")) == "abc"
