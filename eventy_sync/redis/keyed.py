"""Keys of events among several roots: what becomes of a publish when Redis says that an event has the key.

Redis decides, in the same step that gives out an id: by the entry that it keeps for a key as long as it is taken, and
by the journal's entries that the root does not have yet.  Before Redis is asked, and after each catching up, the root's
own log is.  So a server that has lost its entries makes no second event: whoever is given an id has the whole log up to
there, with its keys.  The one exception is a root that began later than the event.

What Redis says of an event counts only if that event carries the key.
"""

from __future__ import annotations

from collections.abc import Callable

from eventy_sync.errors import EventExpiredError
from eventy_sync.redis.journal import Journal
from eventy_sync.redis.resync import ResyncNeededError
from eventy_sync.storage.log import KeyedPublish, KeyTakenError, LogEnd, build, parse


def settle_taken(
    event_id: int, end: LogEnd, keyed: KeyedPublish, journal: Journal, catch_up: Callable[[LogEnd], None]
) -> None:
    """Raise KeyTakenError with the event that Redis named, or let that one not count.  Needs the append lock.

    Raises:
        ResyncNeededError: the journal no longer has the event, and this root has not yet.
        EventExpiredError: neither this root, which began later, nor the journal has the event.
    """
    if event_id > end.tail:
        catch_up(end)
        keyed.check()
    if event_id > end.tail:
        if event_id <= (last_id := journal.last_id()):
            raise ResyncNeededError(end.tail + 1, last_id)
    else:
        try:
            keyed.check_event(event_id)
        except EventExpiredError:
            _check_journal(event_id, keyed, journal)
    keyed.void_id = event_id  # it was never given out, or it does not carry the key


def _check_journal(event_id: int, keyed: KeyedPublish, journal: Journal) -> None:
    entry = journal.entry(event_id)
    if entry is None:
        raise EventExpiredError(
            f"this key has event {event_id} already, which this root, that joined later, does not have: nothing was "
            "published; read the event on another host, or open new roots with resync=True"
        )
    record = parse(build(*entry)[:-1])
    if record.key == keyed.key:
        raise KeyTakenError(record)
