"""Every error this library raises on purpose, in one tree.

::

    EventyError
    ├── QueueClosedError                 used before ``with`` or after close
    ├── NotFoundError (KeyError)
    │   ├── EventNotFoundError
    │   │   └── EventExpiredError        retention has dropped it
    │   ├── ResultNotFoundError
    │   ├── ClaimNotFoundError
    │   ├── GroupNotFoundError
    │   └── SubscriptionNotFoundError
    ├── InvalidPayloadError (ValueError) not of payload_type, too large, too deep
    ├── InvalidArgumentError (ValueError) claim ids, group names, page ids, options
    ├── GroupInUseError                  workers have events of the group that is to be removed
    ├── StorageError
    │   ├── CorruptRecordError
    │   └── QueueFormatError             a later format, or no queue at all
    └── CoordinationError
        ├── RedisConfigurationError      wrong password, permission, database, key type
        ├── QueueIdentityError           another queue has this name
        └── ClaimLostError

Every error carries its whole arguments, so that it survives pickling between processes.
`SkipEvent` and `RetryEvent`, which a handler may raise, are control signals and not errors.
"""

from __future__ import annotations


class EventyError(Exception):
    """Anything that went wrong inside the library.  Catch this to catch them all."""


class QueueClosedError(EventyError):
    """The queue was used before ``with queue:`` or after it was closed."""


class NotFoundError(EventyError, KeyError):
    """What was asked for does not exist."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return Exception.__str__(self)


class EventNotFoundError(NotFoundError):
    """No event has this id."""


class EventExpiredError(EventNotFoundError):
    """The event existed; retention has dropped it."""


class ResultNotFoundError(NotFoundError):
    """No result has this id."""


class ClaimNotFoundError(NotFoundError):
    """Nobody holds this claim: it never existed, was released, or has expired."""


class GroupNotFoundError(NotFoundError):
    """No group has this name: nobody has subscribed with it yet."""


class SubscriptionNotFoundError(NotFoundError):
    """No subscription has this id."""


class InvalidPayloadError(EventyError, ValueError):
    """A payload is not of the queue's payload type, or too large, or too deep."""


class InvalidArgumentError(EventyError, ValueError):
    """An argument other than a payload is out of range or of the wrong shape."""


class GroupInUseError(EventyError):
    """A group cannot be removed: workers have so many of its events, or, for 0, this process subscribes with it."""

    def __init__(self, group: str, leased: int = 0) -> None:
        super().__init__(group, leased)
        self.group, self.leased = group, leased

    def __str__(self) -> str:
        if not self.leased:
            return f"the group {self.group!r} was not removed: this process subscribes with it; unsubscribe first"
        events = "1 event is" if self.leased == 1 else f"{self.leased} events are"
        return (
            f"the group {self.group!r} was not removed: {events} in the hands of workers; stop them, and, if they were "
            "killed, try again when their leases have run out"
        )


class StorageError(EventyError):
    """The disk refused, or what is on it cannot be used."""


class CorruptRecordError(StorageError):
    """A record that was written whole cannot be read back.

    `segment` is the name of the log file, `position` the byte at which the damage begins,
    and `first_id` to `last_id` (both included) are the events that were lost to it.
    """

    def __init__(self, segment: str, position: int, reason: str, first_id: int, last_id: int) -> None:
        super().__init__(segment, position, reason, first_id, last_id)
        self.segment, self.position, self.reason = segment, position, reason
        self.first_id, self.last_id = first_id, last_id

    def __str__(self) -> str:
        events = (
            f"event {self.first_id}" if self.first_id == self.last_id else f"events {self.first_id} to {self.last_id}"
        )
        return f"{self.segment}: corrupt record at byte {self.position} ({events}): {self.reason}"


class QueueFormatError(StorageError):
    """The directory is not a queue, or one of a later format than this version knows."""


class CoordinationError(EventyError):
    """The workers cannot agree on something at present, so it was refused."""


class RedisConfigurationError(CoordinationError):
    """Redis answers, but will never do what is asked of it as it is set up: a person has to see to it."""


class QueueIdentityError(CoordinationError):
    """Another queue has this name in Redis, or this root has gone its own way."""


class ClaimLostError(CoordinationError):
    """This worker does not hold the claim any more."""
