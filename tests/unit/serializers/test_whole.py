"""A payload comes back whole, or is refused: nothing of it is lost without a word."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from eventy_sync import Codec, EventyError, FileEventQueue, InvalidPayloadError
from eventy_sync.serializers import MAX_PAYLOAD_BYTES, get_serializer

T = TypeVar("T")


@dataclass
class Order:
    id: int


@dataclass
class SpecialOrder(Order):
    discount: float = 0.5


class Box(msgspec.Struct, Generic[T]):
    content: T


class LabelledBox(Box[int]):
    label: str = ""


@attrs.define
class WithPrivate:
    id: int
    _token: str = ""


class Typed(TypedDict):
    id: int


class Optionals(pydantic.BaseModel):
    x: float | None = None
    anything: Any = None


class Secret(pydantic.BaseModel):
    password: pydantic.SecretStr


class Excluding(pydantic.BaseModel):
    token: str = pydantic.Field("", exclude=True)


class Aliased(pydantic.BaseModel):
    id: int = pydantic.Field(alias="orderId")


class Computed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    id: int

    @pydantic.computed_field  # type: ignore[prop-decorator] - as pydantic documents it
    @property
    def twice(self) -> int:
        return 2 * self.id


class Unset(msgspec.Struct):
    id: int


def codec(payload_type: Any, name: str = "json") -> Codec:
    return get_serializer(name, payload_type).bind(payload_type)


@pytest.mark.parametrize(
    ("payload_type", "payload"),
    [
        (Order | None, SpecialOrder(1)),
        (list[Order], [SpecialOrder(1)]),
        (Box[int], LabelledBox(1, "x")),
        (WithPrivate, WithPrivate(1, "x")),
        (Typed, {"id": 1, "extra": 2}),
        (dict, {1: "a", "1": "b"}),
        (Optionals, Optionals(x=math.nan)),
        (Optionals, Optionals(anything=[math.inf])),
        (Secret, Secret(password=pydantic.SecretStr("x"))),
        (Excluding, Excluding(token="x")),
    ],
)
def test_a_payload_comes_back_whole_or_is_refused(payload_type: Any, payload: Any) -> None:
    """A subclass's fields, hidden fields, keys that become one, numbers that become null."""
    try:
        bound = codec(payload_type)
        body = bound.encode(payload)
    except EventyError:
        return
    assert bound.decode(body) == payload


@pytest.mark.parametrize("payload", [Aliased(orderId=1), Computed(id=1)])
def test_a_model_with_aliases_or_computed_fields_comes_back(payload: Any) -> None:
    """Both are ordinary pydantic."""
    bound = codec(type(payload))
    assert bound.decode(bound.encode(payload)) == payload


@pytest.mark.parametrize("name", ["json", "msgpack", "pickle", "pydantic"])
def test_an_annotated_type_is_the_type_with_its_bounds(name: str) -> None:
    """`Annotated[int, ...]` takes an int."""
    bound = codec(Annotated[int, "an amount in cents"], name)
    assert bound.decode(bound.encode(5)) == 5


def test_the_bounds_of_an_annotated_type_are_checked() -> None:
    """On publish, as the fields of a class are."""
    bound = codec(Annotated[int, msgspec.Meta(gt=0)])
    assert bound.decode(bound.encode(5)) == 5
    with pytest.raises(InvalidPayloadError, match=">= 1"):
        bound.encode(-5)


def test_a_struct_without_its_fields_is_refused() -> None:
    """Like any other instance that lost one."""
    payload = Unset(1)
    del payload.id
    with pytest.raises(InvalidPayloadError, match="payload"):
        codec(Unset).encode(payload)


class Locked:
    """Will not be pickled."""

    def __getstate__(self) -> Any:
        raise RuntimeError("not this one")


@pytest.mark.parametrize("payload", [ctypes.pointer(ctypes.c_int(1)), Locked()])
def test_whatever_cannot_be_pickled_is_an_invalid_payload(payload: Any) -> None:
    """Pickle raises ValueError and RuntimeError, too."""
    with pytest.raises(InvalidPayloadError, match="cannot be pickled"):
        codec(Any, "pickle").encode(payload)


def test_a_pickle_of_an_absurd_length_is_an_invalid_payload() -> None:
    """Pickle raises OverflowError for it."""
    with pytest.raises(InvalidPayloadError, match="stored payload"):
        codec(Any, "pickle").decode(b"\x80\x04\x8e" + b"\xff" * 8)


@pytest.mark.parametrize("error", [KeyError, RuntimeError, AttributeError, ZeroDivisionError])
@pytest.mark.parametrize("name", ["json", "msgpack", "pydantic"])
def test_a_class_that_refuses_its_own_fields_makes_an_invalid_payload(name: str, error: type[Exception]) -> None:
    """Whatever its check raises, the reader gets an EventyError and can go on."""

    @dataclass
    class Checked:
        id: int

        def __post_init__(self) -> None:
            if self.id < 0:
                raise error("no")

    body = {"msgpack": msgspec.msgpack.encode}.get(name, msgspec.json.encode)({"id": -1})
    with pytest.raises(InvalidPayloadError, match="stored payload"):
        codec(Checked, name).decode(body)


@pytest.mark.parametrize("payload_type", [dict, Any])
@pytest.mark.parametrize(
    "wrong",
    [{"x": math.nan}, {1: "a", "1": "b"}, {"x": msgspec.Raw(b"{")}, {"\ud800": 1}, {"x": object()}, {"x": {0, print}}],
)
def test_many_at_once_are_checked_as_one_is(root: Path, payload_type: Any, wrong: Any) -> None:
    """One that cannot be stored keeps all of them out, wherever in the batch it is."""
    good = {"text": "null", "x": 1.5, "none": None, "n": 1, "yes": True}
    with FileEventQueue(root, payload_type) as queue:
        for place in range(3):
            batch = [good, good, good]
            batch[place] = wrong
            with pytest.raises(InvalidPayloadError, match="payload"):
                queue.publish_many(batch)
        batch = [good, {}, {"a": None}, {"nested": [good]}]
        queue.publish_many(batch)
        assert [event.payload for event in queue.iter_events()] == batch


def test_the_largest_payload_fits_a_batch_as_well(root: Path) -> None:
    """The limit is that of each payload."""
    with FileEventQueue(root, dict) as queue:
        with pytest.raises(InvalidPayloadError, match="store it elsewhere"):
            queue.publish_many([{}, {"x": "x" * MAX_PAYLOAD_BYTES}])
        queue.publish_many([{}, {"x": "x" * (MAX_PAYLOAD_BYTES - 8)}])
        assert queue.count_events() == 2
