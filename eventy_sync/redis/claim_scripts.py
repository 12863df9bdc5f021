"""What is asked of Redis about one claim: a script each, with the claim's keys, record and message."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from eventy_sync.models import Claim
from eventy_sync.redis import claim_records
from eventy_sync.redis.keys import Keys
from eventy_sync.redis.link import Argument, Link, Script
from eventy_sync.redis.sessions import Sessions
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.storage.state import Held

HELD = 0
NOT_NOW = -1
"""The epoch is over, or other roots have not yet said which claims they hold: join anew and ask again."""

_EPOCHS = 10
"""So many epochs may begin while claims are put back."""

_CLAIM, _RENEW, _RESTORE = Script("claim"), Script("renew"), Script("restore")


class ClaimScripts:
    """Thread safe.  All methods raise RedisUnavailableError where Redis cannot be had."""

    def __init__(
        self,
        keys: Keys,
        link: Link,
        sessions: Sessions,
        root_id: UUID,
        epoch: Callable[[], bytes],
        queue_id: Callable[[], UUID],
    ) -> None:
        # fixed after construction
        self._keys, self._link, self._sessions, self._epoch, self._queue_id = keys, link, sessions, epoch, queue_id
        self._root_id = str(root_id)
        self._lock = threading.Lock()
        # replaced as a whole, the session under _lock: none may be left without being given up
        self._session = sessions.begin()
        self._worker = root_id, self._root_id

    def take(
        self,
        claim_id: str,
        worker_id: UUID,
        data: str,
        ttl_seconds: float,
        last_token: int,
        meanwhile: Callable[[str], object],
    ) -> int:
        """Return the token of the claim taken, `HELD` or `NOT_NOW`; `data` is JSON, tokens go on from `last_token`.

        `meanwhile` is called with the epoch in which the claim was asked for, while the request is on its way.
        """
        epoch = self._epoch()
        if not epoch:
            return NOT_NOW
        worker = self._text_of(worker_id)
        record = claim_records.without_token(worker, data, ttl_seconds)
        message = self._message("add_claim", claim_id, worker)
        arguments: list[Argument] = [epoch, self._session, claim_id, _milliseconds(ttl_seconds), record]
        arguments += [last_token, self._keys.channel, f'{message},"token":', worker]
        return int(self._link.run(_CLAIM, self._names(claim_id), arguments, lambda: meanwhile(epoch.decode())))

    def prolong(self, claim: Claim, ttl_seconds: float) -> int:
        """Let it last so long from now; return 1, `HELD` when it is not held under its token, or `NOT_NOW`."""
        record = claim_records.encode(claim, ttl_seconds)
        return self._change(claim.id, claim.worker_id, claim.token, _milliseconds(ttl_seconds), record)

    def free(self, claim_id: str, worker_id: UUID, token: int) -> int:
        """Free it; return as `prolong` does."""
        return self._change(claim_id, worker_id, token, 0, b"")

    def _change(self, claim_id: str, worker_id: UUID, token: int, milliseconds: int, record: bytes) -> int:
        worker = self._text_of(worker_id)
        message = f'{self._message("remove_claim", claim_id, worker)},"token":{token}}}'
        arguments: list[Argument] = [self._epoch(), claim_id, worker, token, milliseconds, record]
        return int(self._link.run(_RENEW, self._names(claim_id), [*arguments, self._keys.channel, message]))

    def restore(self, held: Sequence[Held], *, are_from_elsewhere: bool = False) -> list[Claim]:
        """Put claims back that the server has lost or never had.

        Returns those that another worker holds: under a later token, or under any if this root's are from a time when
        it was not of this queue.  Nothing is put into another queue of this name, nor what this root may not hold.
        """
        keys = self._keys
        names = [keys.claims, keys.claim_ids, keys.claim_holders, keys.meta]
        names += [keys.claim(each.claim.id) for each in held]
        claims: list[Argument] = []
        for claim, remaining_seconds, asked_in in held:
            record = claim_records.encode(claim, remaining_seconds)
            claims += [claim.id, str(claim.worker_id), _milliseconds(remaining_seconds), record, asked_in]
        for _ in range(_EPOCHS):
            epoch: bytes = self._link.command("HGET", keys.meta, "epoch") or b""
            head: list[Argument] = [str(self._queue_id()), int(are_from_elsewhere), epoch, self._session]
            numbers = self._link.run(_RESTORE, names, [*head, *claims])
            if numbers != NOT_NOW:
                return [held[number - 1].claim for number in numbers]
        raise RedisUnavailableError("the epoch changes time and again")

    def give_up_session(self) -> None:
        """A reply was lost: let the request not be served late, once this root has joined anew."""
        with self._lock:
            self._sessions.give_up(self._session)
            self._session = self._sessions.begin()

    def _names(self, claim_id: str) -> tuple[str, str, str, str, str]:
        keys = self._keys
        return keys.claim(claim_id), keys.meta, keys.claims, keys.claim_ids, keys.claim_holders

    def _text_of(self, worker_id: UUID) -> str:
        """Return it as text, which is most of the time the same one's."""
        if worker_id is not self._worker[0]:
            self._worker = worker_id, str(worker_id)
        return self._worker[1]

    def _message(self, kind: str, claim_id: str, worker: str) -> str:
        name = msgspec.json.encode(claim_id).decode()
        return f'{{"type":"{kind}","worker_id":"{worker}","root_id":"{self._root_id}","claim_id":{name}'


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
