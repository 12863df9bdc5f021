"""A claim as Redis has it, and what another program may have put in its place."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from eventy_sync.models import Claim
from eventy_sync.redis import claim_records

ANN = UUID(int=1)
SOUND: dict[str, Any] = {"worker_id": str(ANN), "created_at": 1.5, "expires_at": 2.5, "data": {"n": 1}, "token": 7}
DATA = [None, {"n": 1, "text": 'größe "\n'}, [], 0, "x", [{"deep": [1.5, True]}]]


def changed(**fields: Any) -> bytes:
    """Return a claim's record with some fields changed, or, where `...` is given, missing."""
    return json.dumps({name: value for name, value in {**SOUND, **fields}.items() if value is not ...}).encode()


def test_a_sound_record_is_read() -> None:
    """The others of this module differ from it in one thing."""
    created_at, expires_at = (datetime.fromtimestamp(each, timezone.utc) for each in (1.5, 2.5))
    assert claim_records.decode("x", changed()) == Claim("x", ANN, created_at, {"n": 1}, 7, expires_at)


FOREIGN = {
    "empty": b"",
    "a text": b"a lock of mine",
    "no text": b"\x80\x03pickle",
    "a number": b"1",
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "cut short": changed()[:-1],
    "too deep": b'{"data":' * 50_000,
    "no worker": changed(worker_id=...),
    "a worker that is no UUID": changed(worker_id="ann"),
    "a worker that is a number": changed(worker_id=1),
    "no token": changed(token=...),
    "a token in a text": changed(token="7"),
    "a token that is half": changed(token=7.5),
    "no data": changed(data=...),
    "no time": changed(created_at=...),
    "a time in a text": changed(expires_at="tomorrow"),
    "a time beyond the calendar": changed(expires_at=1e12),
    "a time beyond all clocks": changed(expires_at=1e300),
    "a time before the calendar": changed(created_at=-1e12),
    "a time that is no number": changed(created_at=float("nan")),
    "a time without an end": changed(expires_at=float("inf")),
}


@pytest.mark.parametrize("value", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_another_program_has_put_there_is_no_claim(value: bytes) -> None:
    """And never an error."""
    assert claim_records.decode("x", value) is None


def test_nothing_is_no_claim() -> None:
    """As Redis says it of a key that is not there."""
    assert claim_records.decode("x", None) is None


@pytest.mark.parametrize("data", DATA)
def test_a_new_claims_record_is_whole_once_the_server_has_put_its_token_behind_it(data: Any) -> None:
    """It lasts from now on."""
    record = claim_records.without_token(str(ANN), json.dumps(data), 60.0) + "12}"
    claim = claim_records.decode("x", record.encode())
    assert claim is not None
    assert (claim.id, claim.worker_id, claim.data, claim.token) == ("x", ANN, data, 12)
    assert claim.expires_at - claim.created_at == timedelta(seconds=60)
    assert abs(claim.created_at - datetime.now(timezone.utc)) < timedelta(seconds=30)


@pytest.mark.parametrize("data", DATA)
def test_a_prolonged_record_keeps_all_but_its_end(data: Any) -> None:
    """Who reads it sees the same claim, with another end."""
    created_at = datetime(2024, 2, 29, 12, 0, 0, 123456, timezone.utc)
    claim = Claim("x", ANN, created_at, data, 12, created_at + timedelta(seconds=1))
    read = claim_records.decode("x", claim_records.encode(claim, 60.0))
    assert read is not None
    assert (read.worker_id, read.created_at, read.data, read.token) == (ANN, created_at, data, 12)
    assert abs(read.expires_at - datetime.now(timezone.utc) - timedelta(seconds=60)) < timedelta(seconds=30)
