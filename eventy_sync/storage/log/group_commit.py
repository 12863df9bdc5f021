"""Group commit: threads that append at the same time are written as one.

Each thread queues its batch up.  Whoever finds nobody leading leads: it commits all that waits, and says so to
those it has written for.  Where many came meanwhile it leads on for a few rounds, which saves waking another
leader; then the first of those who wait leads.  A thread that is alone pays for one uncontended lock.

Every step is a single operation of a bare lock or a deque, so that an exception from a signal's handler
can come anywhere; should it come just before somebody is woken, they look by themselves soon after.  A batch is
taken by one round only, even if the round's leader is interrupted: it is never written twice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from eventy_sync.errors import EventyError, StorageError

LONGEST_SLEEP_SECONDS = 0.05
MAX_ROUNDS, MANY = 4, 3


class _Round:
    """One commit of what waited.  `error` stays what it is now should its leader be interrupted."""

    __slots__ = ("error", "over")

    def __init__(self) -> None:
        self.error: BaseException | None = StorageError(
            "the write was interrupted: whether it reached the log is unknown"
        )
        self.over = False  # set last, in one step for all its batches


class Batch:
    """What one caller appends: the payload fields of its records.  Its ids run on from `first_id`."""

    __slots__ = ("at", "first_id", "payload_fields", "round", "turn")

    def __init__(self, payload_fields: Sequence[bytes]) -> None:
        self.payload_fields = payload_fields
        self.first_id = 0
        self.at = 0
        self.round: _Round | None = None
        self.turn: threading.Lock | None = None  # held by its owner, who sleeps on it; released to wake it

    @property
    def done(self) -> bool:
        """Whether it was committed, or refused."""
        return self.round is not None and self.round.over

    @property
    def error(self) -> BaseException | None:
        """Why it was not written, once it is done."""
        return None if self.round is None else self.round.error

    def sleep(self) -> None:
        """Wait to be woken, and not at all the first time: somebody may have looked before there was a `turn`."""
        if self.turn is None:
            turn = threading.Lock()
            turn.acquire()
            self.turn = turn
        else:
            self.turn.acquire(timeout=LONGEST_SLEEP_SECONDS)

    def wake(self) -> None:
        """Let its owner look again."""
        if self.turn is not None and self.turn.locked():
            with suppress(RuntimeError):  # somebody else woke it at the same moment
                self.turn.release()


class GroupCommit:
    """Hands batches to `commit`, all that wait at a time, from one thread at a time.  Thread safe.

    `commit` numbers the batches and writes them all, or raises and has written none.
    """

    def __init__(self, commit: Callable[[Sequence[Batch]], None]) -> None:
        self._commit = commit
        self._waiting: deque[Batch] = deque()
        self._leader = threading.Lock()

    def append(self, batch: Batch) -> None:
        """Return when the batch is written.

        Raises:
            EventyError: it was not; another thread may have led, so each caller gets an error of its own.
        """
        self._waiting.append(batch)
        while not batch.done:
            if self._leader.locked():
                batch.sleep()
                continue
            with self._leader:
                if batch.round is None:
                    self._lead_rounds()
                elif not batch.round.over:
                    break  # whoever led it was interrupted
            with suppress(IndexError):
                self._waiting[0].wake()  # it leads next
        if batch.error is not None:
            raise type(batch.error)(*batch.error.args) from batch.error

    def _lead_rounds(self) -> None:
        for _ in range(MAX_ROUNDS):
            written = self._lead()
            if len(written) > 1:
                self._wake_others(written)
            if len(self._waiting) < MANY:
                return

    def _lead(self) -> list[Batch]:
        batches, this_round = [each for each in list(self._waiting) if each.round is None], _Round()
        for batch in batches:
            batch.round = this_round
        self._drop_taken()
        try:
            self._commit(batches)
            this_round.error = None
        except EventyError as exc:
            this_round.error = exc
        finally:  # also when a signal's handler raised: nobody may wait for ever, or believe it written
            this_round.over = True
        return batches

    def _wake_others(self, written: Sequence[Batch]) -> None:
        for batch in written:
            batch.wake()

    def _drop_taken(self) -> None:
        while self._waiting and self._waiting[0].round is not None:
            self._waiting.popleft()
