"""The seal of an event that a message carries: only who may read the queue's keys can have made it.

The channel is open to more than the queue's workers, so what it says is a hint.  An event that goes with its wake-up
is more, and saves each other root a question; it is appended if the seal is right, and asked for if not.  The seal
is HMAC's construction on SHA-1, which is what a script of the server can do; its key lives as long as the epoch, so
an event of what was lost is no event of what came after.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha1

from eventy_sync.redis.messages import CarriedEvent


def new_key() -> str:
    """Return a key for an epoch."""
    return secrets.token_hex(16)


def is_genuine(key: bytes, event_id: int, event: CarriedEvent) -> bool:
    """Return whether this event was published under this id and key, as `publish.lua` seals it."""
    if not key:  # a server that has lost it, or never had one: everybody knows this one
        return False
    text = b"%b %d %d %d %b" % (key, event_id, event.at, event.before, event.payload_fields)
    inner = sha1(text, usedforsecurity=False).hexdigest().encode()
    return hmac.compare_digest(sha1(key + inner, usedforsecurity=False).hexdigest().encode(), event.seal.encode())
