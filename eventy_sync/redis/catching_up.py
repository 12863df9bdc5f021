"""Catching up: bringing this root's log, and its state, to where the queue is.

What others publish comes from the journal.  What the journal no longer has comes from another root; what no root
has is written down as lost, so that delivery can go on behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from eventy_sync.file.coordinator import Watcher
from eventy_sync.redis.changes import Changes
from eventy_sync.redis.journal import DivergedError, Journal
from eventy_sync.redis.resync import Resync, ResyncNeededError, Wanted
from eventy_sync.redis.roots import Roots
from eventy_sync.storage.log import Entry, EventLog, LogEnd

logger = logging.getLogger(__name__)


class CatchingUp:
    """Thread safe.  All methods raise RedisUnavailableError and StorageError."""

    def __init__(self, journal: Journal, resync: Resync, changes: Changes, roots: Roots) -> None:
        self._journal, self._resync, self._changes, self._roots = journal, resync, changes, roots
        self._log: EventLog
        self._watcher: Watcher

    def start(self, log: EventLog, watcher: Watcher) -> None:
        """Begin to serve this log."""
        self._log, self._watcher = log, watcher

    def fetch(self) -> None:
        """Append what the journal has behind this root's tail.

        Raises:
            ResyncNeededError: it does not reach back so far.
            DivergedError: this root's last event is not the queue's.
        """
        for entries in self._journal.entries_from(self._log.tail()):
            with self._log.appending() as end:
                _extend(end, entries)
            self._watcher.expect(entries[-1].id)

    def follow(self, entry: Entry, before: int) -> bool:
        """Append an event of the journal that follows this root's last one, whose time is `before`.

        Return False, and do nothing, if it does not follow; True, too, if it is here.
        """
        with self._log.appending() as end:
            if entry.id == end.tail + 1 and before == end.tail_at:
                end.extend_locked([entry])
            is_here = end.tail >= entry.id
        if is_here:
            self._watcher.expect(entry.id)
        return is_here

    def catch_up(self) -> None:
        """Do so, and make sure that nothing is missing; raises what `fetch` does."""
        last_id = self._journal.last_id()  # first: what is published meanwhile is not missing
        self.fetch()
        if last_id > self._log.tail():
            raise ResyncNeededError(self._log.tail() + 1, last_id)

    def extend_locked(self, end: LogEnd) -> None:
        """Do what `fetch` does, the append lock being held; raises what it does."""
        for entries in self._journal.entries_from(end.tail):
            _extend(end, entries)

    def perform_resync(self, first_id: int, last_id: int) -> None:
        """Get these events from another root, and what else was missed; what nobody has is written down as lost.

        First and last id are 0 when only other things were missed.
        """
        has_answered = not self._roots.is_alone and self._resync.ask(
            Wanted(first_id, last_id, self._changes.missing_since()), self
        )
        if not has_answered and self._changes.missing_since() is not None:
            logger.warning("results of other roots may be missing here: no other root has answered")
        self._changes.miss_no_more()
        if last_id:
            self._fetch_what_came_meanwhile()
            self._give_up_until(last_id, has_answered)

    def _fetch_what_came_meanwhile(self) -> None:
        try:
            self.fetch()
        except ResyncNeededError:
            return  # what lies before it is not there

    def _give_up_until(self, last_id: int, has_answered: bool) -> None:
        with self._log.appending() as end:
            if end.tail < last_id:
                logger.error(
                    "events lost: first_id=%d last_id=%d answered=%s: no other root has them",
                    end.tail + 1,
                    last_id,
                    has_answered,
                )
                _lose(end, last_id)

    def rest_of(self, wanted: Wanted) -> Wanted:
        """Return what is wanted yet: not the events that are here by now."""
        first_id = max(wanted.first_id, self._log.tail() + 1)
        return (
            wanted._replace(first_id=first_id) if first_id <= wanted.last_id else wanted._replace(first_id=0, last_id=0)
        )

    def take_events(self, entries: Sequence[Entry]) -> None:
        """Append events that another root has sent."""
        with self._log.appending() as end:
            if entries[0].id > end.tail + 1:
                _lose(end, entries[0].id - 1)
            end.extend_locked(entries)
        self._watcher.expect(entries[-1].id)

    def take_state(self, kind: str, body: bytes) -> None:
        """Make a part of another root's state here."""
        self._changes.take(kind, body)


def _extend(end: LogEnd, entries: Sequence[Entry]) -> None:
    """Append entries of the journal, if it reaches back so far and tells the same of the root's last event."""
    new = [entry for entry in entries if entry.id > end.tail]
    known = entries[len(entries) - len(new) - 1] if len(new) < len(entries) else None
    if known is not None and known.id == end.tail and end.tail_at not in (0, known.at):
        raise DivergedError(end.tail)
    if new and new[0].id > end.tail + 1:
        raise ResyncNeededError(end.tail + 1, new[0].id - 1)
    end.extend_locked(new)


def _lose(end: LogEnd, last_id: int) -> None:
    if end.tail == 0:
        end.start_after_locked(last_id)
    else:
        end.lose_locked(last_id)
