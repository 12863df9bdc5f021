"""Hearing from the kernel that a directory's files are written to, by whatever process: inotify(7), where there is it.

Two calls of the C library are all that is needed of it, and what libraries there are for it bring threads of their
own or wait before they tell.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import sys
from contextlib import suppress
from pathlib import Path

from eventy_sync.waking import KernelHint, close_in_children

_IN_MODIFY, _IN_CREATE = 0x2, 0x100
_ENOUGH_BYTES = 4096  # equal notices in a row are one

HAS_INOTIFY = sys.platform == "linux"
"""Whether this system has it; this process may have to do without all the same."""


class Growth:
    """Wakes one thread when a file is written to or made, or when it is given like a `Hint`.  `give` is thread safe.

    What it was woken for is kept until it is cleared: until then each wait is over at once.

    Raises:
        OSError: this system has no inotify, or gives no more of them to this user.
    """

    def __init__(self, directory: Path) -> None:
        self._notices = -1
        close_in_children(self)  # first: another thread may fork at any time
        self._poll = select.poll()
        self._ready: list[int] = []  # what the last wait was over for
        self._notices = _inotify(directory)
        self._given = KernelHint()
        for each in (self._notices, self._given.fileno()):
            self._poll.register(each, select.POLLIN)

    def close(self) -> None:
        """Hear no more from the kernel.  For the one thread that waits; giving stays harmless.

        The kernel takes some 15 ms for it, in which Ctrl-C is likely to come: a destructor would swallow that.
        """
        notices, self._notices, self._ready = self._notices, -1, []
        if notices >= 0:
            with suppress(KeyError):  # a fork, or an interrupt, came before it was registered
                self._poll.unregister(notices)
            os.close(notices)

    def __del__(self) -> None:
        self.close()

    def give(self) -> None:
        """Let the one who waits go on, or whoever waits next."""
        self._given.give()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until something is written, this is given, or the time is over; say whether something was written."""
        self._ready = [each for each, _ in self._poll.poll(max(0.0, timeout_seconds) * 1000)]
        return self._notices in self._ready

    def clear(self) -> bool:
        """Forget what the last wait was over for, if it was for anything; say whether something had been written.

        Apart from waiting, and before whoever was woken looks for the last time: what is on its way to a handler need
        not wait for it.
        """
        ready, self._ready = self._ready, []
        for each in ready:
            with suppress(BlockingIOError):
                os.read(each, _ENOUGH_BYTES)
        return self._notices in ready


def _inotify(directory: Path) -> int:
    """Return a descriptor that can be read when a file of this directory was written to, or made."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "there is no inotify on this system")
    library = ctypes.CDLL(None, use_errno=True)
    descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "no inotify instance")
    if library.inotify_add_watch(descriptor, os.fsencode(directory), _IN_MODIFY | _IN_CREATE) < 0:
        reason = ctypes.get_errno()
        os.close(descriptor)
        raise OSError(reason, "no inotify watch", str(directory))
    return descriptor
