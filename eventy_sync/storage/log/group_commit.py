"""Group commit: threads that append at the same time are written as one.

Each thread queues its batch up.  Whoever finds nobody leading leads: it commits all that waits, and the first of
those who came meanwhile leads next.  A thread that is alone pays for one uncontended lock.

Those whose batches are written are woken one by the other: all at once they would stand in line for the interpreter,
and the next leader behind them.

Every step is a single operation of a bare lock or a deque, so that an exception from a signal's handler
can come anywhere; should it come just before somebody is woken, they look by themselves soon after.  A batch is
taken by one round only, even if the round's leader is interrupted: it is never written twice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from eventy_sync.errors import EventyError, StorageError
from eventy_sync.waking import Hint, KernelHint

LONGEST_SLEEP_SECONDS = 0.05
SPARE_HINTS = 64

_INTERRUPTED = StorageError("the write was interrupted: whether it reached the log is unknown")


class _Round:
    """One commit of what waited.  `error` stays what it is now should its leader be interrupted."""

    __slots__ = ("asleep", "error", "over")

    def __init__(self) -> None:
        self.error: BaseException | None = _INTERRUPTED
        self.over = False  # set last, in one step for all its batches
        self.asleep: deque[Batch] | None = None  # those whose owners may be and have not been woken, if there are any

    def wake_next(self) -> None:
        """Let one owner look again."""
        if self.asleep:
            try:
                self.asleep.popleft().wake()
            except IndexError:
                pass  # somebody else was faster


class Batch:
    """What one caller appends: the payload fields of its records.  Its ids run on from `first_id`."""

    __slots__ = ("at", "first_id", "hint", "payload_fields", "round")

    def __init__(self, payload_fields: Sequence[bytes]) -> None:
        self.payload_fields = payload_fields
        self.first_id = 0
        self.at = 0
        self.round: _Round | None = None
        self.hint: Hint | KernelHint | None = None  # which wakes its owner, once that has found somebody leading

    @property
    def error(self) -> BaseException | None:
        """Why it was not written, once its round is over."""
        return None if self.round is None else self.round.error

    def wake(self) -> None:
        """Let its owner look again."""
        hint = self.hint
        if hint is not None:
            hint.give()


class GroupCommit:
    """Hands batches to `commit`, all that wait at a time, from one thread at a time.  Thread safe.

    `commit` numbers the batches and writes them all, or raises and has written none.
    """

    def __init__(self, commit: Callable[[Sequence[Batch]], None]) -> None:
        self._commit = commit
        self._waiting: deque[Batch] = deque()
        self._leader = threading.Lock()
        self._hints: deque[Hint | KernelHint] = deque(maxlen=SPARE_HINTS)  # that nobody sleeps on

    def append(self, batch: Batch) -> None:
        """Return when the batch is written.

        Raises:
            EventyError: it was not; another thread may have led, so each caller gets an error of its own.
        """
        self._waiting.append(batch)
        try:
            self._lead_or_sleep(batch)
        finally:
            if batch.hint is not None:
                self._take_hint(batch)
        if batch.error is not None:
            raise type(batch.error)(*batch.error.args) from batch.error

    def close(self) -> None:
        """Give back what is kept between commits.  Whoever appends still is served."""
        self._hints = deque(maxlen=0)

    def _lead_or_sleep(self, batch: Batch) -> None:
        has_led = False
        while batch.round is None or not batch.round.over:
            if self._leader.locked():
                self._sleep(batch)
                continue
            with self._leader:
                if batch.round is None:
                    self._lead(batch)
                elif not batch.round.over:
                    return  # whoever led it was interrupted
            has_led = True
        if batch.round is not None:
            batch.round.wake_next()
        if has_led:
            self._wake_next_leader()

    def _sleep(self, batch: Batch) -> None:
        """Wait to be woken, and not at all the first time: somebody may have looked before there was a hint."""
        if batch.hint is None:
            batch.hint = self._spare_hint()
        else:
            batch.hint.wait(LONGEST_SLEEP_SECONDS)

    def _spare_hint(self) -> Hint | KernelHint:
        try:
            return self._hints.pop()
        except IndexError:
            pass
        try:
            return KernelHint()
        except OSError:  # slower, but no reason to fail
            return Hint()

    def _take_hint(self, batch: Batch) -> None:
        """Keep it for another batch; not in `append`, whose frame an exception may keep alive."""
        hint, batch.hint = batch.hint, None
        if hint is not None:
            self._hints.append(hint)

    def _lead(self, own: Batch) -> None:
        batches, this_round = list(self._waiting), _Round()
        if len(batches) > 1:  # else it is our own
            batches = [each for each in batches if each.round is None]
        for batch in batches:
            batch.round = this_round
        self._drop_taken()
        if len(batches) > 1:
            this_round.asleep = deque(batch for batch in batches if batch is not own)
        try:
            self._commit(batches)
            this_round.error = None
        except EventyError as exc:
            this_round.error = exc
        finally:  # also when a signal's handler raised: nobody may wait for ever, or believe it written
            this_round.over = True

    def _wake_next_leader(self) -> None:
        if self._waiting:
            try:
                self._waiting[0].wake()
            except IndexError:
                pass  # somebody leads them by now

    def _drop_taken(self) -> None:
        while self._waiting and self._waiting[0].round is not None:
            self._waiting.popleft()
