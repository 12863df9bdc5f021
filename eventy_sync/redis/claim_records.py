"""A claim as Redis has it: JSON, times in seconds since 1970."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import msgspec

from eventy_sync.models import Claim


class _Record(msgspec.Struct, frozen=True):
    worker_id: UUID
    created_at: float
    expires_at: float
    data: msgspec.Raw
    token: int


_decode = msgspec.json.Decoder(_Record).decode


def without_token(worker_id: str, data: str, ttl_seconds: float) -> str:
    """Return a new claim's record up to its token, which the server puts behind it; `data` is JSON."""
    now = datetime.now(timezone.utc).timestamp()
    return f'{{"worker_id":"{worker_id}","created_at":{now},"expires_at":{now + ttl_seconds},"data":{data},"token":'


def encode(claim: Claim, remaining_seconds: float) -> bytes:
    """Return the record of a claim that lasts so long from now."""
    expires_at = datetime.now(timezone.utc).timestamp() + remaining_seconds
    data = msgspec.Raw(msgspec.json.encode(claim.data))
    record = _Record(claim.worker_id, claim.created_at.timestamp(), expires_at, data, claim.token)
    return msgspec.json.encode(record)


def decode(claim_id: str, value: Any) -> Claim | None:
    """Return a claim, or None for what is none: nothing, or something that another program has put there."""
    if value is None:
        return None
    try:
        record = _decode(value)
        return Claim(
            id=claim_id,
            worker_id=record.worker_id,
            created_at=datetime.fromtimestamp(record.created_at, timezone.utc),
            data=msgspec.json.decode(record.data),
            token=record.token,
            expires_at=datetime.fromtimestamp(record.expires_at, timezone.utc),
        )
    except (msgspec.MsgspecError, ValueError, OverflowError, OSError, RecursionError):
        return None
