"""Subscribers as they are stored: brought back by the classes that are here, never by importing anything."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest

from eventy_sync import InvalidArgumentError, NonceSubscriber, Subscriber, WorkerMatchSubscriber
from eventy_sync.subscribers import decode_subscriber, encode_subscriber


@dataclass
class Mail(Subscriber[Any]):
    """Stored with its fields."""

    to: str
    since: datetime | None = None
    tags: list[str] = field(default_factory=list)

    def on_event(self, event: Any, event_queue: Any) -> str:
        return self.to


class StructMail(msgspec.Struct, Subscriber[Any]):  # type: ignore[misc]
    """A msgspec struct."""

    to: str


class ModelMail(pydantic.BaseModel, Subscriber[Any]):
    """A pydantic model."""

    to: str
    at: datetime


@dataclass(frozen=True)
class Rich(Subscriber[Any]):
    """Fields of many types, one of them another subscriber or none."""

    number: int = 0
    raw: bytes = b""
    pause: timedelta = timedelta(0)
    chosen: set[int] = field(default_factory=set)
    pair: tuple[int, str] | None = None
    target: Subscriber[Any] | None = None


class Unstored(Subscriber[Any]):
    """Has no fields to store."""


NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
MAIL = Mail("a@example.org", NOW, ["x"])
TAG = "eventy:subscriber"


@pytest.mark.parametrize(
    "subscriber",
    [
        MAIL,
        StructMail("b"),
        ModelMail(to="c", at=NOW),
        NonceSubscriber(MAIL, "mail"),
        WorkerMatchSubscriber(NonceSubscriber(MAIL), UUID(int=5)),
        Rich(2**70, b"\xff", timedelta(seconds=5), {1}, (1, "a")),
        Rich(target=Rich(target=MAIL)),
    ],
    ids=lambda subscriber: type(subscriber).__name__,
)
def test_a_subscriber_with_fields_is_stored_and_comes_back(subscriber: Subscriber[Any]) -> None:
    """Equal, with the types its fields are annotated with; wrappers bring what they wrap."""
    encoded = encode_subscriber(subscriber)
    assert encoded is not None
    json.loads(encoded[1])
    assert decode_subscriber(*encoded) == subscriber


@pytest.mark.parametrize("subscriber", [print, lambda event: None, Unstored(), Mail])
def test_what_has_no_fields_is_not_stored(subscriber: Any) -> None:
    """Functions and plain objects belong to their process."""
    assert encode_subscriber(subscriber) is None


def test_a_field_that_cannot_be_stored_is_refused() -> None:
    """The error names the class."""
    for wrong in (Mail(object()), Mail(float("nan")), NonceSubscriber(Unstored())):  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="cannot be stored"):
            encode_subscriber(wrong)


@pytest.mark.parametrize(
    "type_name",
    [
        "antigravity:fly",
        "no_such_module:Thing",
        "os:system",
        "builtins:eval",
        "subprocess:Popen",
        f"{__name__}:Unknown",
        f"{__name__}:MAIL",
        "eventy_sync:Subscriber.__class__",
        "",
        ":",
        "x" * 5000,
        "../../etc/passwd:x",
        "os:\x00",
    ],
)
def test_a_forged_type_name_brings_nothing_back(type_name: str) -> None:
    """Neither a module that is not imported nor anything that is no subscriber class."""
    before = set(sys.modules)
    assert decode_subscriber(type_name, b"{}") is None
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"{}",
        b'{"to": 5, "since": "yesterday"}',
        b'{"to": "a", "unknown": 1}',
        b'{"to": {"eventy:subscriber": "os:system", "fields": {}}}',
        b'{"to": {"eventy:subscriber": 7, "fields": {}}}',
        b'{"to": {"eventy:subscriber": "x:y"}}',
        b'{"to": "a", "tags": "not a list"}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_forged_fields_are_refused(body: bytes) -> None:
    """They do not fit the class; nothing else happens."""
    with pytest.raises(InvalidArgumentError, match="do not fit"):
        decode_subscriber(f"{__name__}:Mail", body)


def test_a_wrapper_around_a_class_that_is_not_here_is_refused() -> None:
    """The wrapper alone can do nothing."""
    encoded = encode_subscriber(NonceSubscriber(MAIL))
    assert encoded is not None
    with pytest.raises(InvalidArgumentError, match="not imported here"):
        decode_subscriber(encoded[0], encoded[1].replace(b"Mail", b"Gone"))


def nested(fields: str) -> str:
    return f'{{"{TAG}": "{__name__}:Mail", "fields": {fields}}}'


@pytest.mark.parametrize(
    "body",
    [
        '{"subscriber": "x"}',
        '{"subscriber": null}',
        '{"subscriber": {}}',
        '{"name": "n"}',
        f'{{"subscriber": {nested("[]")}}}',
        f'{{"subscriber": {nested("{}")}}}',
        f'{{"subscriber": {nested(json.dumps({"to": 5}))}}}',
        f'{{"subscriber": {nested(json.dumps({"to": "a"}))}, "name": [1]}}',
        f'{{"subscriber": {nested(json.dumps({"to": "a"}))}, "remember_seconds": "soon"}}',
        f'{{"subscriber": {nested(json.dumps({"to": "a"}))}, "extra": 1}}',
    ],
)
def test_a_forged_wrapper_is_refused(body: str) -> None:
    """What it wraps and its own fields are checked as well."""
    with pytest.raises(InvalidArgumentError, match="do not fit"):
        decode_subscriber("eventy_sync.subscribers:NonceSubscriber", body.encode())


def test_a_forged_worker_id_is_refused() -> None:
    """It must be a UUID."""
    body = f'{{"subscriber": {nested(json.dumps({"to": "a"}))}, "worker_id": "../x"}}'
    with pytest.raises(InvalidArgumentError, match="Invalid UUID"):
        decode_subscriber("eventy_sync.subscribers:WorkerMatchSubscriber", body.encode())


def test_wrappers_a_thousand_deep_are_refused() -> None:
    """They neither crash the worker nor run."""
    body = nested('{"to": "a"}')
    for _ in range(5000):
        body = f'{{"{TAG}": "eventy_sync.subscribers:NonceSubscriber", "fields": {{"subscriber": {body}}}}}'
    with pytest.raises(InvalidArgumentError, match="do not fit"):
        decode_subscriber("eventy_sync.subscribers:NonceSubscriber", f'{{"subscriber": {body}}}'.encode())


def test_a_subscriber_must_say_what_it_does() -> None:
    """The error names the method to define."""
    with pytest.raises(TypeError, match="Unstored must define on_event"):
        Unstored().on_event(None, None)  # type: ignore[arg-type]
