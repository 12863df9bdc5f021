"""The roots of a queue: what each says of itself in Redis, and what this one remembers of the others.

A root that cannot ask Redis must know whether it is alone.  So what was last heard of other roots is kept
in the state store; one that was not heard of for a day, or was forgotten, is no more.  A root is forgotten here
first, so that this works without Redis, which is told when this root joins; if the root speaks again it is back.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from uuid import UUID

import msgspec

from eventy_sync.errors import StorageError
from eventy_sync.storage.growth import HAS_INOTIFY
from eventy_sync.storage.state import StateStore

ROOT_EXPIRY_SECONDS = 86_400.0
REMEMBER_SECONDS = 600.0
_EXPIRED_AT_ONCE = 100
_NAME, _FORGOTTEN = "roots", "forgotten_roots"


class Root(msgspec.Struct, frozen=True):
    """What is known of a root.

    It has events from `oldest` up to `tail`.  `seen_at` is in seconds since 1970; `closed` when no worker has it open;
    `forgotten` when a person, or a day of silence, has said that it is gone for good.  Its processes are `told` by the
    kernel of what others of them append.
    """

    host: str = ""
    tail: int = 0
    seen_at: float = 0.0
    closed: bool = False
    forgotten: bool = False
    oldest: int = 1
    told: bool = False


_decode = msgspec.json.Decoder(dict[str, Root]).decode
_decode_times = msgspec.json.Decoder(dict[str, float]).decode


class Roots:
    """This root and the others.  Thread safe: a change replaces the whole dictionary."""

    def __init__(self, root_id: UUID, store: StateStore, expiry_seconds: float = ROOT_EXPIRY_SECONDS) -> None:
        self._root_id, self._store, self._expiry_seconds = str(root_id), store, expiry_seconds
        self._others: dict[str, Root] = {}
        self._was_recalled = False
        self._remembered_at = -REMEMBER_SECONDS
        self._forgotten: dict[str, float] = {}  # until when what was heard of a root does not count
        self.oldest_here: Callable[[], int] = lambda: 1  # asked for the oldest event that this root has
        self.count = 0  # in Redis, as was last heard
        self.untold: list[str] = []  # forgotten here, and not yet in Redis
        self.expired: list[bytes] = []  # ids and descriptions, in turn, that Redis need not keep any more

    @property
    def kept_seconds(self) -> float:
        """How long Redis keeps what a root has said of itself."""
        return 2 * self._expiry_seconds

    def myself(self, tail: int, *, closed: bool = False) -> bytes:
        """Return what this root says of itself."""
        host, oldest = socket.gethostname(), self.oldest_here()
        return msgspec.json.encode(Root(host, tail, time.time(), closed, oldest=oldest, told=HAS_INOTIFY))

    def others(self) -> dict[str, Root]:
        """Return the other roots that may be alive, by their ids."""
        if not self._was_recalled:
            self._recall()
        oldest = time.time() - self._expiry_seconds
        return {
            root_id: root
            for root_id, root in self._others.items()
            if root.seen_at >= oldest and not root.forgotten and not self._is_forgotten(root_id, root)
        }

    def lost_before(self, oldest: int) -> int:
        """Return the first event that any root may have, where `oldest` is the first that this one has.

        A root that is closed counts, too: it brings its events back.
        """
        if oldest <= 1:
            return oldest
        return min([oldest, *(each.oldest for each in self.others().values())])

    def _is_forgotten(self, root_id: str, root: Root) -> bool:
        return root.seen_at <= self._forgotten.get(root_id, 0.0)

    def _recall(self) -> None:
        kept = self._store.remembered.get(_NAME)
        self._others = {**({} if kept is None else _decode(kept)), **self._others}
        self._was_recalled = True
        self._recall_forgotten()

    def _recall_forgotten(self) -> None:
        kept = self._store.remembered.get(_FORGOTTEN)
        self._forgotten = {} if kept is None else _decode_times(kept)

    def forget(self, root_id: str) -> None:
        """Take this root for gone for good, in all processes of this root.

        Raises:
            StorageError: the disk refused.
        """
        known = self.others().get(root_id, Root())
        self._recall_forgotten()
        oldest = time.time() - self._expiry_seconds
        forgotten = {each: until for each, until in self._forgotten.items() if until >= oldest}
        forgotten[root_id] = max(time.time(), known.seen_at)  # its clock may be ahead of ours
        self._store.remembered.put(_FORGOTTEN, msgspec.json.encode(forgotten))
        self._forgotten = forgotten

    @property
    def is_alone(self) -> bool:
        """Whether no other root may be alive."""
        self._recall()  # another process of this root may have heard of some, or been told to forget them
        return not self.others()

    def learn(self, pairs: Iterable[bytes]) -> None:
        """Take over what Redis has of roots: ids and descriptions in turn.

        A root that Redis does not name is remembered all the same: the server may have lost it.  What is malformed
        is passed over.
        """
        flat = list(pairs)
        self.count = len(flat) // 2
        found: dict[str, Root] = {}
        expired: list[bytes] = []
        kept_since = time.time() - self.kept_seconds
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            try:
                root_id, root = key.decode(), msgspec.json.decode(value, type=Root)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            if root_id != self._root_id:
                found[root_id] = root
                if root.seen_at < kept_since:
                    expired += [key, value]
        self.expired = expired[: 2 * _EXPIRED_AT_ONCE]
        before = self.others()
        self._recall_forgotten()
        self.untold = [each for each, root in found.items() if not root.forgotten and self._is_forgotten(each, root)]
        self._others = {**before, **found}
        now = self.others()
        is_old = time.monotonic() - self._remembered_at >= REMEMBER_SECONDS  # who opens next must know who lives
        if is_old or before.keys() != now.keys() or any(before[each].closed != now[each].closed for each in before):
            self._remember(now)

    def _remember(self, found: dict[str, Root]) -> None:
        self._store.remembered.put(_NAME, msgspec.json.encode(found))
        self._remembered_at = time.monotonic()

    def remember_all(self) -> None:
        """Keep what was last heard, as at the end."""
        try:
            self._remember(self.others())
        except StorageError:
            return  # what was kept before still says who the others are
