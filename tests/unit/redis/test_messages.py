"""Messages on the channel: what is one, and what is passed over."""

from __future__ import annotations

import logging

import msgspec
import pytest

from eventy_sync.redis import messages
from eventy_sync.redis.messages import (
    MAX_MESSAGE_BYTES,
    AddClaim,
    AddEvent,
    AddResult,
    CreateSubscriber,
    Heartbeat,
    Inbox,
    Message,
    RemoveClaim,
    RemoveSubscriber,
    ResyncDone,
    ResyncRequest,
    encode,
)

LARGEST = 2**63 - 2
EVERY_TYPE: list[tuple[Message, str]] = [
    (AddEvent("w", "r", 1), "add_event"),
    (AddEvent("w", "r", LARGEST), "add_event"),
    (AddResult("w", "r"), "add_result"),
    (CreateSubscriber("w", "r"), "create_subscriber"),
    (RemoveSubscriber("w", "r"), "remove_subscriber"),
    (AddClaim("w", "r", 'quote " and\nline', 1), "add_claim"),
    (RemoveClaim("w", "r", "größe", LARGEST), "remove_claim"),
    (Heartbeat("w", "r", "epoch"), "heartbeat"),
    (ResyncRequest("w", "r", "abc0", 0, 0), "resync"),
    (ResyncRequest("w", "r", "abc0", 7, 7, 0), "resync"),
    (ResyncRequest("w", "r", "abc0", 1, LARGEST, LARGEST), "resync"),
    (ResyncDone("w", "r", "abc0"), "resync_done"),
]


@pytest.mark.parametrize(("message", "name"), EVERY_TYPE)
def test_every_type_comes_back_as_it_was(message: Message, name: str) -> None:
    """Under the name that other versions know it by."""
    data = encode(message)
    assert msgspec.json.decode(data)["type"] == name
    assert Inbox().open(data) == message


def test_what_a_later_version_adds_is_no_harm() -> None:
    """Fields that are not known are left out."""
    data = b'{"type":"add_result","worker_id":"w","root_id":"r","hue":[1,{"a":null}]}'
    assert Inbox().open(data) == AddResult("w", "r")


def message(kind: str, fields: str = "") -> bytes:
    """Return a message of this type with these fields, however wrong."""
    return f'{{"type":"{kind}","worker_id":"w","root_id":"r"{fields and ","}{fields}}}'.encode()


MALFORMED = {
    "nothing": b"",
    "no text": b"\xff\x00",
    "too deep": b"[" * 50_000,
    "too deep inside": message("add_result", '"x":' + "[" * 50_000),
    "cut short": message("add_result")[:-1],
    "two in one": message("add_result") * 2,
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "no type": b'{"worker_id":"w","root_id":"r"}',
    "a type that is a number": b'{"type":1,"worker_id":"w","root_id":"r"}',
    "an unknown type": message("import"),
    "no worker": b'{"type":"add_result","root_id":"r"}',
    "no root": b'{"type":"add_result","worker_id":"w"}',
    "a worker that is a number": b'{"type":"add_result","worker_id":1,"root_id":"r"}',
    "a root that is null": b'{"type":"add_result","worker_id":"w","root_id":null}',
    "half a character": message("add_claim", '"claim_id":"\\ud800","token":1'),
    "an event without its id": message("add_event"),
    "an event 0": message("add_event", '"last_id":0'),
    "an event below 0": message("add_event", '"last_id":-1'),
    "an event too large": message("add_event", f'"last_id":{LARGEST + 1}'),
    "an event far too large": message("add_event", f'"last_id":{10**400}'),
    "an event in a text": message("add_event", '"last_id":"1"'),
    "an event that is half": message("add_event", '"last_id":1.5'),
    "an event that is true": message("add_event", '"last_id":true'),
    "an event that is null": message("add_event", '"last_id":null'),
    "a claim without its token": message("add_claim", '"claim_id":"x"'),
    "a claim without its id": message("add_claim", '"token":1'),
    "a claim's id that is a list": message("add_claim", '"claim_id":["x"],"token":1'),
    "a token 0": message("add_claim", '"claim_id":"x","token":0'),
    "a token below 0": message("remove_claim", '"claim_id":"x","token":-3'),
    "a token too large": message("remove_claim", f'"claim_id":"x","token":{2**64}'),
    "a heartbeat without an epoch": message("heartbeat"),
    "a heartbeat's epoch that is a number": message("heartbeat", '"epoch":1'),
    "a request without its id": message("resync", '"first_id":1,"last_id":1'),
    "a request's id that is empty": message("resync", '"request_id":"","first_id":1,"last_id":1'),
    "a request's id with a colon": message("resync", '"request_id":"a:b","first_id":1,"last_id":1'),
    "a request backwards": message("resync", '"request_id":"a","first_id":2,"last_id":1'),
    "a request from below 0": message("resync", '"request_id":"a","first_id":-1,"last_id":1'),
    "a request too far": message("resync", f'"request_id":"a","first_id":1,"last_id":{2**63}'),
    "a request of state before all time": message(
        "resync", '"request_id":"a","first_id":0,"last_id":0,"state_since":-1'
    ),
    "a request of state after all time": message(
        "resync", f'"request_id":"a","first_id":0,"last_id":0,"state_since":{2**63}'
    ),
    "an end without a request": message("resync_done"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_passed_over(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """With one warning, which does not repeat what was sent at any length; what comes behind it is taken."""
    inbox = Inbox()
    assert inbox.open(data) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("messages passed over: count=1 reason=")
    assert len(record.getMessage()) < 300
    assert inbox.open(encode(AddEvent("w", "r", 1))) == AddEvent("w", "r", 1)


@pytest.mark.parametrize(("excess_bytes", "is_taken"), [(0, True), (1, False)])
def test_a_message_has_a_largest_size(excess_bytes: int, is_taken: bool) -> None:
    """It is not even read beyond that."""
    padding = MAX_MESSAGE_BYTES - len(message("add_result", '"x":""')) + excess_bytes
    data = message("add_result", f'"x":"{"y" * padding}"')
    assert (Inbox().open(data) is not None) is is_taken


def test_the_warning_is_rate_limited(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, one a minute, which counts what was left out."""
    inbox = Inbox()
    for _ in range(5):
        inbox.open(b"noise")
    assert [each.getMessage()[:33] for each in caplog.records] == ["messages passed over: count=1 rea"]
    monkeypatch.setattr(messages, "WARNING_INTERVAL_SECONDS", 0.0)  # a minute later
    inbox.open(b"noise")
    assert "count=5" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 2
