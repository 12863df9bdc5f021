"""Messages on the channel: small JSON objects, hints and never the truth, but for an event that is sealed.

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


class _Message(msgspec.Struct, frozen=True, tag_field="type"):
    """What every message has: who sends it."""

    worker_id: str
    root_id: str


class CarriedEvent(msgspec.Struct, frozen=True):
    """An event that goes with its wake-up: its time, that of the event before it, 0 if there is none, and its fields.

    Not to be believed before the `seal` was looked at.
    """

    at: int
    before: int
    seal: str
    fields: msgspec.Raw

    @property
    def payload_fields(self) -> bytes:
        """The fields as a log and the journal have them: without the braces."""
        return bytes(self.fields)[1:-1]


class AddEvent(_Message, frozen=True, tag="add_event"):
    """Events were published; `last_id` is the last one's id, and `event` the event itself if it is only one."""

    last_id: int
    event: CarriedEvent | None = None


class AddResult(_Message, frozen=True, tag="add_result"):
    """Results were told."""


class SteerGroup(_Message, frozen=True, tag="steer_group"):
    """A group goes on or pauses, or has dead letters to handle again."""


class CreateSubscriber(_Message, frozen=True, tag="create_subscriber"):
    """Stored subscriptions were told."""


class RemoveSubscriber(_Message, frozen=True, tag="remove_subscriber"):
    """It was told that stored subscriptions are no more."""


class AddClaim(_Message, frozen=True, tag="add_claim"):
    """A claim was granted to this worker."""

    claim_id: str
    token: int


class RemoveClaim(_Message, frozen=True, tag="remove_claim"):
    """A claim was freed."""

    claim_id: str
    token: int


class Heartbeat(_Message, frozen=True, tag="heartbeat"):
    """A worker lives, and takes this epoch for the present one."""

    epoch: str


class ResyncRequest(_Message, frozen=True, tag="resync"):
    """A root wants these events, which the journal no longer has; 0 and 0 for none.

    With `state_since`, a time in microseconds, it also wants all subscriptions, and the results from then on.
    """

    request_id: str
    first_id: int
    last_id: int
    state_since: int | None = None


class ResyncDone(_Message, frozen=True, tag="resync_done"):
    """Who has asked has got all, or waits no longer."""

    request_id: str


Message = Union[
    AddEvent,
    AddResult,
    SteerGroup,
    CreateSubscriber,
    RemoveSubscriber,
    AddClaim,
    RemoveClaim,
    Heartbeat,
    ResyncRequest,
    ResyncDone,
]
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
    if isinstance(message, AddEvent):
        _check_number(message.last_id, 1)
        if message.event is not None:
            _check_number(message.event.at, 1)
            _check_number(message.event.before, 0)
    elif isinstance(message, (AddClaim, RemoveClaim)):
        _check_number(message.token, 1)
    elif isinstance(message, ResyncRequest):
        _check_number(message.first_id, 0)
        _check_number(message.last_id, message.first_id)
        _check_number(message.state_since or 0, 0)
        if not message.request_id.isalnum():
            raise ValueError("an absurd request")


def _check_number(number: int, least: int) -> None:
    if not least <= number < _LARGEST_ID:
        raise ValueError("an absurd number")


def encode(message: Message) -> bytes:
    """Return a message as it is published."""
    return msgspec.json.encode(message)
