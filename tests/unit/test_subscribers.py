"""Subscribers as they are stored: brought back by the classes that are here, never by importing anything."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest

from eventy_sync import FileEventQueue, InvalidArgumentError, NonceSubscriber, Subscriber, WorkerMatchSubscriber
from eventy_sync.stored_subscriber import decode_subscriber, encode_subscriber


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


def test_a_forged_name_wakes_no_lazy_module(spawn_python: Callable[..., subprocess.Popen[str]]) -> None:
    """Some modules import others when they are asked for a name: they are not asked."""
    process = spawn_python(
        """
        import concurrent.futures, sys
        from eventy_sync.stored_subscriber import decode_subscriber
        before = set(sys.modules)
        assert decode_subscriber("concurrent.futures:ProcessPoolExecutor", b"{}") is None
        print(sorted(set(sys.modules) - before))
        """
    )
    assert process.communicate(timeout=30)[0] == "[]\n"


class Opener(Subscriber[Any]):
    """Cannot be stored, so it must not be made from what is stored."""

    def __init__(self, path: str = "") -> None:
        raise AssertionError("made by a forged name")


@pytest.mark.parametrize("type_name", [f"{__name__}:Opener", "eventy_sync.subscribers:Subscriber"])
def test_a_class_that_is_never_stored_is_never_brought_back(type_name: str) -> None:
    """A forged name of a subscriber without fields makes none."""
    assert decode_subscriber(type_name, b"{}") is None


def test_a_type_name_that_is_no_text_brings_nothing_back() -> None:
    """SQLite keeps bytes in a column of text."""
    assert decode_subscriber(b"os:system", b"{}") is None  # type: ignore[arg-type]


def test_a_subscriber_where_another_type_belongs_is_refused() -> None:
    """A tag does not get a field around its annotation."""
    with pytest.raises(InvalidArgumentError, match="do not fit"):
        decode_subscriber(f"{__name__}:Mail", f'{{"to": {nested(json.dumps({"to": "a"}))}}}'.encode())


@dataclass
class Picky(Subscriber[Any]):
    """Trips over fields it did not expect."""

    to: Any

    def __post_init__(self) -> None:
        self.to.strip()


def test_a_class_that_trips_over_its_fields_is_refused() -> None:
    """Whatever it raises, the worker gets the one error and goes on."""
    with pytest.raises(InvalidArgumentError, match="do not fit"):
        decode_subscriber(f"{__name__}:Picky", b'{"to": 5}')


@dataclass
class Fan(Subscriber[Any]):
    """Hands on to several."""

    targets: list[Subscriber[Any]]


class ModelOfBytes(pydantic.BaseModel, Subscriber[Any]):
    raw: bytes


class ModelWithAlias(pydantic.BaseModel, Subscriber[Any]):
    to: str = pydantic.Field(alias="mailTo")


class InnerModel(pydantic.BaseModel):
    n: int


class ModelOfModel(pydantic.BaseModel, Subscriber[Any]):
    inner: InnerModel


def local_subscriber() -> Subscriber[Any]:
    """Return one whose class no other worker can find."""

    @dataclass
    class Local(Subscriber[Any]):
        to: str

    return Local("a")


@pytest.mark.parametrize(
    "subscriber",
    [
        Fan([MAIL]),
        ModelOfBytes(raw=b"hello"),
        ModelWithAlias(mailTo="a"),
        ModelOfModel(inner=InnerModel(n=1)),
        Mail("\ud800"),
        Rich(chosen={TAG: "x"}),  # type: ignore[arg-type]
        local_subscriber(),
    ],
    ids=lambda subscriber: type(subscriber).__name__,
)
def test_what_is_stored_can_be_brought_back(subscriber: Subscriber[Any]) -> None:
    """A subscriber that would come back as another, or not at all, is refused when it subscribes."""
    try:
        encoded = encode_subscriber(subscriber)
    except InvalidArgumentError:
        return
    assert encoded is None or decode_subscriber(*encoded) == subscriber


def test_refused_fields_are_not_shown() -> None:
    """A stored subscriber may hold an address or a key; the error goes to the log, as one line."""
    with pytest.raises(InvalidArgumentError) as refused:
        decode_subscriber(f"{__name__}:ModelMail", b'{"to": "a", "at": "hunter2"}')
    shown = "".join(traceback.format_exception(type(refused.value), refused.value, refused.value.__traceback__))
    assert "input_value='hunter2'" not in shown
    assert "\n" not in str(refused.value)


def test_subscriptions_whose_class_is_elsewhere_are_listed(
    root: Path, spawn_python: Callable[..., subprocess.Popen[str]]
) -> None:
    """A wrapper around a class that is not imported here is listed with None, as the class itself would be."""
    with FileEventQueue(root, dict) as queue:
        queue.subscribe(NonceSubscriber(MAIL))
        queue.subscribe(MAIL)
    process = spawn_python(
        """
        import sys
        from eventy_sync import FileEventQueue
        with FileEventQueue(sys.argv[1], dict) as queue:
            print([each.subscriber for each in queue.search_subscriptions().items])
        """,
        root,
    )
    assert process.communicate(timeout=30)[0] == "[None, None]\n"
