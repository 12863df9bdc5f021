"""Group commit: threads that append at the same time are written as one.

Each thread queues its batch up and then asks for the leader's lock.  Whoever gets it commits all that
waits; the others find, when their turn comes, that theirs is done.  A thread that is alone pays for
one uncontended lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from eventy_sync.errors import EventyError, StorageError


class Batch:
    """What one caller appends: the payload fields of its records.  Its ids run on from `first_id`."""

    __slots__ = ("at", "done", "error", "first_id", "payload_fields")

    def __init__(self, payload_fields: Sequence[bytes]) -> None:
        self.payload_fields = payload_fields
        self.first_id = 0
        self.at = 0
        self.done = False
        self.error: BaseException | None = None


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
        with self._leader:
            if not batch.done:
                self._lead()
        if batch.error is not None:
            raise type(batch.error)(*batch.error.args) from batch.error

    def _lead(self) -> None:
        waiting = self._waiting
        batches = [waiting.popleft() for _ in range(len(waiting))]
        error: BaseException | None = StorageError("the write was interrupted: whether it reached the log is unknown")
        try:
            self._commit(batches)
            error = None
        except EventyError as exc:
            error = exc
        finally:  # also when a signal's handler raised: nobody may wait for ever, or believe it written
            for batch in batches:
                batch.done, batch.error = True, error
