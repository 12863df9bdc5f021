"""Sessions: what makes a request void that is served after its root has gone on without it.

A request carries its session.  When a reply is lost the session is given up; the next join tells the server,
which serves none of its requests from then on.
"""

from __future__ import annotations

import secrets
import threading

MAX_VOID = 100


class Sessions:
    """The sessions that this process has given up and the server may not know of yet.  Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # guarded by _lock for writing: claims give up theirs while a join tells of others
        self._void: tuple[str, ...] = ()

    def begin(self) -> bytes:
        """Return a new session, 8 characters long."""
        return secrets.token_hex(4).encode()

    def give_up(self, session: bytes) -> None:
        """Remember that nothing of this session may be served any more."""
        with self._lock:
            self._void = (*self._void, session.decode())[-MAX_VOID:]

    def void(self) -> tuple[str, ...]:
        """Return what the server has to be told."""
        return self._void

    def told(self, sessions: tuple[str, ...]) -> None:
        """Forget these: the server knows."""
        with self._lock:
            self._void = tuple(each for each in self._void if each not in sessions)
