"""Pydantic models as payloads: pydantic checks and writes them, the limits are those of all JSON."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from eventy_sync import Codec, InvalidArgumentError, InvalidPayloadError
from eventy_sync.serializers import MAX_PAYLOAD_BYTES, get_serializer


class Order(BaseModel):
    id: int
    lines: list[str] = []
    data: Any = None


class SpecialOrder(Order):
    discount: float = 0.5


class Plain:
    """Nothing pydantic knows."""


def codec(payload_type: Any) -> Codec:
    return get_serializer("pydantic", payload_type).bind(payload_type)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def containing_itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("payload_type", "payload"),
    [
        (Order, Order(id=1, lines=["a\nb", "é\u2028"], data={"n": None})),
        (list[Order], [Order(id=1)]),
        (Order | None, None),
        (dict[str, int], {"a": 1}),
        (int, 5),
    ],
)
def test_what_a_type_adapter_takes_comes_back(payload_type: Any, payload: Any) -> None:
    """Models, and generics around them; on one line."""
    bound = codec(payload_type)
    body = bound.encode(payload)
    assert b"\n" not in body
    assert bound.decode(body) == payload


@pytest.mark.parametrize(
    "payload",
    [
        {"id": 1},
        SpecialOrder(id=1),
        Order.model_construct(id="x"),
        Order(id=1, data=object()),
        Order(id=1, data="\ud800"),
        Order(id=1, data=deep(150)),
        Order.model_construct(id=1, data=containing_itself()),
    ],
)
def test_what_is_no_such_model_is_refused(payload: Any) -> None:
    """Another class, a subclass, a model that was never checked, and what JSON cannot hold."""
    with pytest.raises(InvalidPayloadError, match="payload"):
        codec(Order).encode(payload)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"id":"x"}',
        b'{"id":1,"data":"\xff"}',
        b'{"id":1,"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_was_stored_is_checked_when_read(body: bytes) -> None:
    """Damage and other types' events are InvalidPayloadErrors."""
    with pytest.raises(InvalidPayloadError, match="stored payload is no Order"):
        codec(Order).decode(body)


def test_a_model_that_is_too_large_is_refused() -> None:
    """With what to do instead."""
    with pytest.raises(InvalidPayloadError, match="store it elsewhere"):
        codec(Order).encode(Order(id=1, data="x" * MAX_PAYLOAD_BYTES))


def test_a_bool_is_no_int() -> None:
    """As in every other serializer of JSON."""
    with pytest.raises(InvalidPayloadError, match="of type int, not bool"):
        codec(int).encode(True)


def test_a_class_pydantic_does_not_know_is_refused_at_once() -> None:
    """Not at the first publish."""
    with pytest.raises(InvalidArgumentError, match="pydantic cannot store a Plain"):
        codec(Plain)
