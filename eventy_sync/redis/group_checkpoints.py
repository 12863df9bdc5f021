"""Checkpoints: what each root tells the server of its groups when it joins, and groups made of them.

Where the server may have lost something the epoch changes, and with it every group has to be built: by whoever wants
a lease first, once all roots that are awaited have joined, of all checkpoints and of what the server has kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import msgspec

from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Argument, Link, Script
from eventy_sync.storage.state import GroupMirror, GroupState, HeldLease, Range, WaitingEvent, merged, unknown_group

logger = logging.getLogger(__name__)

_CHECKPOINT, _READ, _INSTALL = Script("checkpoint"), Script("read_group"), Script("install_group")
_TOLD = b"told"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(GroupState).decode


class GroupCheckpoints:
    """Thread safe.  All methods raise StorageError, and RedisUnavailableError where Redis cannot be had."""

    def __init__(self, keys: Keys, link: Link, mirror: GroupMirror, root_id: UUID, epoch: Callable[[], bytes]) -> None:
        self._keys, self._link, self._mirror, self._epoch = keys, link, mirror, epoch
        self._root_id = str(root_id)

    def tell(self, *, anew: bool = False) -> bytes | None:
        """Tell what this root knows, to be done before it joins; return the epoch that the server has then.

        With `anew`, and where this root was alone with its groups, they are built once more in this epoch.
        """
        states, was_alone = self._mirror.share()
        removed = self._mirror.births()  # later than that: what it says of a group that is in both is newer
        if not states and not removed:
            return None
        names = [self._keys.meta, self._keys.groups]
        arguments: list[Argument] = [self._root_id, int(anew or was_alone)]
        for name, state in states.items():
            if removed.get(name, 0) == state.birth:
                removed.pop(name, None)
                names += self._keys.group(name)
                arguments += [name, state.birth, _encode(state)]
        for name, birth in removed.items():
            names += self._keys.group(name)
            arguments += [name, birth, b""]
        epoch, *gone = self._link.run(_CHECKPOINT, names, arguments)
        for group, later in zip(gone[::2], gone[1::2], strict=True):
            logger.info("group removed while this root was away: group=%s", group.decode())
            self._mirror.forget(group.decode(), int(later))
        return epoch or b""

    def tell_again(self, told_epoch: bytes | None, epoch: bytes) -> None:
        """Tell it once more if the server may have lost it before this root had joined."""
        if told_epoch is not None and told_epoch != epoch:
            self.tell(anew=True)

    def build(self, group: str, from_index: int | None) -> str:
        """Make the group in this epoch if nobody has; return "", or "rejoin" or "awaiting": why that cannot be yet.

        One that nobody knows begins with `from_index`.

        Raises:
            GroupNotFoundError: nobody knows it, and `from_index` is None.
        """
        reply = self._link.run(_READ, [self._keys.meta, *self._keys.group(group)], [])
        epoch, now, kept = self._epoch(), reply[2], _fields(reply[3])
        if reply[0] != epoch or reply[1]:
            return "rejoin" if reply[0] != epoch else "awaiting"
        here, birth = _kept(now, kept, *reply[4:9]), int(kept.get(b"birth", b"0"))
        if self._mirror.births().get(group, 0) > birth:
            self.tell()  # this root has heard of a removal since it joined, and the server has lost that
            return "awaiting"
        if kept.get(b"epoch") == epoch and here is not None:
            self._mirror.absorb(group, here)
            return ""
        checkpoints = _fields(reply[9])
        states = [*_told(now, checkpoints), *([here] if here else [])]
        if not states and from_index is None:
            self._mirror.forget(group, birth)
            raise unknown_group(group)
        start = from_index or 1
        state = merged(states or [GroupState(from_index=start, next_id=start, token=birth, birth=birth)])
        if not self._install(group, epoch, checkpoints.get(_TOLD, b"0"), state):
            return "awaiting"  # somebody has told or made something meanwhile
        logger.info("group built: group=%s next_id=%d roots=%d", group, state.next_id, len(states))
        self._mirror.absorb(group, state, is_new=not states)
        return ""

    def _install(self, group: str, epoch: bytes, told: bytes, state: GroupState) -> bool:
        leases: dict[int, list[HeldLease]] = {}
        for lease in state.leases:
            leases.setdefault(lease.token, []).append(lease)
        arguments: list[Argument] = [epoch, told, group, state.from_index, state.next_id, state.token]
        arguments += [int(state.paused), _text(state.left), len(leases), len(state.waiting), state.birth]
        for token, parts in leases.items():
            ranges = _text([(each.first_id, each.last_id) for each in parts])
            first = parts[0]
            arguments += [token, f"{first.worker_id} {first.attempt} {first.begun_at} {ranges}", first.ends_ms]
        for each in state.waiting:
            arguments += [each.event_id, f"{each.attempts} {each.begun_at} {each.token}", each.due_ms]
        for event_id, token in state.dead:
            arguments += [event_id, token]
        names = [self._keys.meta, self._keys.groups, *self._keys.group(group)]
        return bool(self._link.run(_INSTALL, names, arguments))


def _fields(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _told(now: int, checkpoints: dict[bytes, bytes]) -> Iterator[GroupState]:
    """Yield what roots have told, as it is by now."""
    for root_id, text in checkpoints.items():
        if root_id == _TOLD:
            continue
        told_at, _, body = text.partition(b" ")
        try:
            yield _decode(body).later(now - int(told_at))
        except (msgspec.MsgspecError, ValueError) as exc:
            logger.warning("a root's checkpoint of a group passed over: %.100s", exc)


def _kept(
    now: int,
    group: dict[bytes, bytes],
    pending: Sequence[bytes],
    leases: Sequence[bytes],
    due: Sequence[bytes],
    attempts: Sequence[bytes],
    dead: Sequence[bytes],
) -> GroupState | None:
    """Return what the server has of a group, None for nothing."""
    if b"next_id" not in group:
        return None
    ends, dues = _fields(pending), _fields(due)
    return GroupState(
        from_index=int(group[b"from_index"]),
        next_id=int(group[b"next_id"]),
        token=int(group[b"token"]),
        paused=group[b"paused"] == b"1",
        left=list(_ranges(group.get(b"left", b"").decode().split())),
        leases=[
            each
            for token, record in _fields(leases).items()
            for each in _leases(int(token), record, int(ends.get(token, b"0")) - now)
        ],
        waiting=[
            _waiting(int(name), record, int(dues.get(name, b"0")) - now) for name, record in _fields(attempts).items()
        ],
        dead=[(int(event_id), int(token)) for event_id, token in _fields(dead).items()],
        birth=int(group.get(b"birth", b"0")),
    ).with_all_before_finished()


def _leases(token: int, record: bytes, ends_ms: int) -> Iterator[HeldLease]:
    worker_id, attempt, begun_at, *ranges = record.decode().split()
    for first_id, last_id in _ranges(ranges):
        yield HeldLease(first_id, last_id, int(attempt), token, worker_id, int(begun_at), ends_ms)


def _ranges(texts: Sequence[str]) -> Iterator[Range]:
    for each in texts:
        first_id, _, last_id = each.partition("-")
        yield int(first_id), int(last_id)


def _text(ranges: Sequence[Range]) -> str:
    return " ".join(f"{first_id}-{last_id}" for first_id, last_id in ranges)


def _waiting(event_id: int, record: bytes, due_ms: int) -> WaitingEvent:
    attempts, begun_at, token = map(int, record.split())
    return WaitingEvent(event_id, attempts, token, begun_at, due_ms)
