"""Starting threads and waking them up, safely where signals' handlers raise.

A `threading.Condition` or `Event` is written in Python: an exception from a signal's handler, such as
Ctrl-C's, can come between two of its lines in the main thread and leave its lock held, or release it
twice.  Here every step is a single operation of a bare lock or a deque.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

LONGEST_WAIT_SECONDS = 1.0
"""A signal that comes just before a thread goes to sleep does not wake it: it is handled after this time at most."""


def start_thread(name: str, run: Callable[..., object], *arguments: object) -> threading.Thread:
    """Return a daemon thread that runs this with these arguments.

    It is returned once it has begun: whoever is interrupted meanwhile has none for whose end to wait.
    """
    thread = threading.Thread(target=run, args=arguments, name=name, daemon=True)
    thread.start()
    return thread


class Hint:
    """Wakes one thread, now or the next time it waits.  Giving it twice is giving it once."""

    def __init__(self) -> None:
        self._given = threading.Lock()  # free when there is a hint
        self._given.acquire()

    def give(self) -> None:
        """Let the one who waits go on, or whoever waits next."""
        if self._given.locked():
            with suppress(RuntimeError):  # somebody else gave one at the same moment
                self._given.release()

    def wait(self, timeout_seconds: float | None) -> bool:
        """Return True when there is a hint, taking it, or False when the time is over."""
        return self._given.acquire(timeout=-1 if timeout_seconds is None else max(0.0, timeout_seconds))


class Closable(Protocol):
    """What has descriptors of its own; closing it twice is closing it once."""

    def close(self) -> None:
        """Close them."""


_not_for_children: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_in_children(each: Closable) -> None:
    """Close this in the child of a fork, whose threads are gone, with whatever referred to it."""
    _not_for_children.add(each)


def _close_the_parents() -> None:
    for each in list(_not_for_children):
        each.close()
    _not_for_children.clear()


os.register_at_fork(after_in_child=_close_the_parents)


class KernelHint:
    """A `Hint` that the kernel keeps, for threads that wake each other all the time: an eventfd(2).

    Who releases a lock keeps the interpreter all the time that the kernel needs to start another processor, and whoever
    was woken finds it taken and sleeps once more.  Here others have it meanwhile.  Who gives it needs no care: its
    descriptor is closed when nobody refers to it any more, and in the child of a fork.

    Raises:
        OSError: this system has no eventfd, or gives this process no more descriptors.
    """

    def __init__(self) -> None:
        self._fd = -1
        close_in_children(self)  # first: another thread may fork at any time
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, "there is no eventfd on this system")
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back, when nobody gives or waits any more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def fileno(self) -> int:
        """Return the descriptor, which can be read when there is a hint, and is read to take it."""
        return self._fd

    def give(self) -> None:
        """See `Hint.give`."""
        os.eventfd_write(self._fd, 1)

    def wait(self, timeout_seconds: float | None) -> bool:
        """See `Hint.wait`; in whole milliseconds."""
        if not self._poll.poll(None if timeout_seconds is None else max(0.0, timeout_seconds) * 1000):
            return False
        os.eventfd_read(self._fd)
        return True


class Givable(Protocol):
    """What a bell can give: a `Hint`, or what else wakes a thread."""

    def give(self) -> None:
        """Wake it."""


class Bell:
    """Wakes all who wait for something to become true; whoever makes it true rings."""

    def __init__(self) -> None:
        self._waiting: deque[Givable] = deque()

    def ring(self) -> None:
        """Let everybody look again."""
        for hint in list(self._waiting):
            hint.give()

    @property
    def hints(self) -> int:
        """How many are given at a ringing."""
        return len(self._waiting)

    @contextmanager
    def hint(self) -> Iterator[Hint]:
        """Yield a hint that is given at every ringing from now on until the end of the block."""
        hint = Hint()
        try:
            self.add(hint)
            yield hint
        finally:
            self.remove(hint)

    def add(self, hint: Givable) -> None:
        """Give this at every ringing from now on."""
        self._waiting.append(hint)

    def remove(self, hint: Givable) -> None:
        """Give it no more; it need not have been added."""
        with suppress(ValueError):
            self._waiting.remove(hint)

    def wait_for(self, is_true: Callable[[], bool], timeout_seconds: float | None) -> bool:
        """Wait until it is true, so many seconds at most; say whether it is."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self.hint() as hint:  # before looking, so that no ringing is missed
            while not is_true():
                remaining_seconds = LONGEST_WAIT_SECONDS if deadline is None else deadline - time.monotonic()
                if remaining_seconds <= 0:
                    return False
                hint.wait(min(remaining_seconds, LONGEST_WAIT_SECONDS))
            return True
