"""No error shows what a payload holds, neither in its text nor in the traceback that goes to the log."""

from __future__ import annotations

import enum
import traceback
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, Field

from eventy_sync import InvalidPayloadError
from eventy_sync.serializers import get_serializer

SECRET = "-".join(["hunter2", "is", "secret"])  # in one piece nowhere in this file, which tracebacks quote


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Item:
    kind: Literal["a", "b"] = "a"
    colour: Colour | None = None


class Paid(msgspec.Struct, tag="paid"):
    total: int


class Sent(msgspec.Struct, tag="sent", forbid_unknown_fields=True):
    total: int


class Card(BaseModel):
    kind: Literal["card"]


class Cash(BaseModel):
    kind: Literal["cash"]


class Payment(BaseModel):
    way: Annotated[Card | Cash, Field(discriminator="kind")] | None = None
    amounts: dict[str, int] = {}
    n: int = 0


class ReprOfPickle:
    """Says its secret in its repr, which pickle quotes."""

    def __repr__(self) -> str:
        return SECRET

    def __reduce__(self) -> str:
        return "no_such_name"


def shown(error: BaseException) -> str:
    """Return all that a log with the traceback would hold."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


@pytest.mark.parametrize(
    ("payload_type", "body"),
    [
        (Item, {"kind": SECRET}),
        (Item, {"colour": SECRET}),
        (Paid | Sent, {"type": SECRET, "total": 1}),
        (Sent, {"type": "sent", "total": 1, SECRET: 1}),
        (Payment, {"way": {"kind": SECRET}}),
        (Payment, {"amounts": {SECRET: "x"}}),
        (Payment, {"n": SECRET}),
    ],
)
def test_a_read_that_is_refused_shows_no_value(payload_type: Any, body: Any) -> None:
    """Enum values, tags, unknown keys and inputs are the payload's."""
    bound = get_serializer("json", payload_type).bind(payload_type)
    with pytest.raises(InvalidPayloadError) as refused:
        bound.decode(msgspec.json.encode(body))
    assert SECRET not in shown(refused.value)


@pytest.mark.parametrize(
    ("payload_type", "payload", "name"),
    [
        (Item, Item(SECRET), "json"),  # type: ignore[arg-type]
        (Item, Item(SECRET), "msgpack"),  # type: ignore[arg-type]
        (Item, Item("a", SECRET), "json"),  # type: ignore[arg-type]
        (Literal["a"], SECRET, "json"),
        (Payment, Payment.model_construct(n=SECRET), "json"),
        (Any, ReprOfPickle(), "pickle"),
    ],
)
def test_a_publish_that_is_refused_shows_no_value(payload_type: Any, payload: Any, name: str) -> None:
    """The publisher's log is read by more people than the queue is."""
    bound = get_serializer(name, payload_type).bind(payload_type)
    with pytest.raises(InvalidPayloadError) as refused:
        bound.encode(payload)
    assert SECRET not in shown(refused.value)
