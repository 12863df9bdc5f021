"""Messages on the channel: small JSON objects, hints and never the truth.

Whatever does not fit (unknown types, wrong shapes, absurd numbers, too long) is passed over with one
rate-limited warning and changes nothing.
"""

from __future__ import annotations

import logging
import time
from typing import Union

import msgspec

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 65_536
WARNING_INTERVAL_SECONDS = 60.0
_LARGEST_ID = 2**63 - 1


class AddEvent(msgspec.Struct, frozen=True, tag_field="type", tag="add_event"):
    """A root has published; `last_id` is the last event's id."""

    worker_id: str
    root_id: str
    last_id: int


class Heartbeat(msgspec.Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """A worker lives, and takes this epoch for the present one."""

    worker_id: str
    root_id: str
    epoch: str


class ResyncRequest(msgspec.Struct, frozen=True, tag_field="type", tag="resync"):
    """A root wants these events, which the journal no longer has."""

    worker_id: str
    root_id: str
    request_id: str
    first_id: int
    last_id: int


class Changed(msgspec.Struct, frozen=True, tag_field="type", tag="changed"):
    """A root has sent changes of results or subscriptions."""

    worker_id: str
    root_id: str


Message = Union[AddEvent, Heartbeat, ResyncRequest, Changed]
_decode = msgspec.json.Decoder(Message).decode


class Inbox:
    """Makes messages of what arrives.  One thread only."""

    def __init__(self) -> None:
        self._warned_at = -WARNING_INTERVAL_SECONDS
        self._passed_over = 0

    def open(self, data: bytes) -> Message | None:
        """Return a message, or None for what is none."""
        try:
            if len(data) > MAX_MESSAGE_BYTES:
                raise ValueError(f"{len(data)} bytes")
            message: Message = _decode(data)
            _check(message)
        except (ValueError, msgspec.MsgspecError, RecursionError) as exc:
            self._pass_over(exc)
            return None
        return message

    def _pass_over(self, exc: Exception) -> None:
        self._passed_over += 1
        now = time.monotonic()
        if now - self._warned_at >= WARNING_INTERVAL_SECONDS:
            self._warned_at = now
            logger.warning("messages passed over: count=%d reason=%.200r", self._passed_over, str(exc))
            self._passed_over = 0


def _check(message: Message) -> None:
    """Raise ValueError for numbers and names that cannot be."""
    if isinstance(message, (AddEvent, ResyncRequest)) and not 0 < message.last_id < _LARGEST_ID:
        raise ValueError("an absurd event id")
    if isinstance(message, ResyncRequest) and not (
        0 < message.first_id <= message.last_id and message.request_id.isalnum()
    ):
        raise ValueError("an absurd request")


def encode(message: Message) -> bytes:
    """Return a message as it is published."""
    return msgspec.json.encode(message)
