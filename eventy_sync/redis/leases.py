"""Leases on several hosts: given by the server, remembered by each root.

Every exchange is one script, and then one transaction in the state store, which keeps what the server has accepted and
given.  A root that is alone and without the server gives leases itself, from what it remembers; one that knows of other
roots gives none, and its workers keep what they have to settle until the server is back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from eventy_sync.errors import CoordinationError, GroupNotFoundError, RedisConfigurationError, StorageError
from eventy_sync.models import DeadLetter, GroupInfo, Page
from eventy_sync.redis.group_checkpoints import GroupCheckpoints
from eventy_sync.redis.group_steering import GroupSteering, Look
from eventy_sync.redis.lease_requests import Answer, Given, LeaseRequests
from eventy_sync.redis.mode import Mode
from eventy_sync.redis.roots import Roots
from eventy_sync.redis.settlement_parts import Part, Place, part_of_dead, parts_of
from eventy_sync.redis.translation import RedisUnavailableError
from eventy_sync.storage.state import GROUP, Grant, PlaceChangedError, Settlement, StateStore, Taken, Want, is_shared

logger = logging.getLogger(__name__)

R = TypeVar("R")

AWAIT_SECONDS = 3.0
"""So long an exchange waits for other roots to say what they know, after the server has lost something."""
_PAUSE_SECONDS = 0.01
_LAST_ID = 2**53


class RedisLeases:
    """A `LeaseAuthority`.

    `rejoin` joins anew and raises RedisUnavailableError where that fails; `degrade` is told of every failure.
    """

    def __init__(
        self,
        store: StateStore,
        requests: LeaseRequests,
        steering: GroupSteering,
        checkpoints: GroupCheckpoints,
        mode: Mode,
        roots: Roots,
        *,
        epoch: Callable[[], bytes],
        rejoin: Callable[[], None],
        forget_gone: Callable[[], object],
        degrade: Callable[[CoordinationError], None],
        pause: Callable[[float], object],
    ) -> None:
        # fixed after construction
        self._store, self._mirror = store, store.mirror
        self._requests, self._steering, self._checkpoints = requests, steering, checkpoints
        self._mode, self._roots, self._epoch = mode, roots, epoch
        self._rejoin, self._forget_gone, self._degrade, self._wait = rejoin, forget_gone, degrade, pause
        # single entries are replaced
        self._starts: dict[str, int] = {}  # where groups begin that nobody knows yet
        self._learnt: dict[str, bytes] = {}  # in which epoch this process has learnt what the server knows
        self._places: dict[str, Place] = {}
        self._doubtful: set[tuple[str, int]] = set()  # tokens of parts that may have been settled: the reply was lost
        self._in_flight: list[str] = []  # groups whose exchange the server may have answered

    # -- beginning -------------------------------------------------------------------------------------------

    def begin(self, group: str, from_index: int) -> None:
        """See `LeaseAuthority.begin`; without Redis the group begins when that is back, at the same place."""
        self._learnt.pop(group, None)  # it may have been removed since
        self._starts.setdefault(group, from_index)
        try:
            if self._mode.is_connected:
                self._learn(group)
            elif self._roots.is_alone:
                self._begin_alone(group)
        except RedisConfigurationError:
            raise  # waiting will not help
        except CoordinationError as exc:
            logger.warning("group not begun yet, its first worker will: group=%s error=%s", group, exc)

    def _begin_alone(self, group: str) -> bytes:
        place = self._mirror.be_alone()
        if group in self._starts:
            self._store.leases.begin(group, self._starts[group])
            self._starts.pop(group, None)
        return place

    def _learn(self, group: str) -> None:
        """Make sure that the group is built in this epoch, and that this root knows what the server knows of it.

        Raises:
            GroupNotFoundError: nobody knows it.
            CoordinationError: it cannot be built yet.
        """
        deadline = time.monotonic() + AWAIT_SECONDS
        while (epoch := self._epoch()) != self._learnt.get(group) or not is_shared(self._mirror.place()):
            word = "rejoin"
            if epoch and is_shared(self._mirror.place()):
                word = self._checkpoints.build(group, self._starts.get(group))
            beginning = None if word else self._mirror.beginning(group)
            if beginning is None:  # maybe removed just now
                self._overcome(word or "awaiting", deadline)
            else:
                self._places[group] = Place(group, *beginning)
                self._learnt[group] = epoch
                self._starts.pop(group, None)  # one that is removed later is not made anew by who has it

    def _overcome(self, word: str, deadline: float) -> None:
        """Do what stands between this root and its leases."""
        if time.monotonic() > deadline:
            raise CoordinationError(
                "the group's events were not handed out: Redis has lost something, and another root has not said yet "
                "what it knows; start a worker there, or, if it is gone for good, forget it: eventy-sync forget-root"
            )
        if word == "awaiting":
            self._forget_gone()
        else:
            self._rejoin()
            self._forget_gone()
        self._wait(_PAUSE_SECONDS)

    # -- leases ----------------------------------------------------------------------------------------------

    def exchange(self, group: str, worker_id: UUID, settlement: Settlement | None, want: Want | None) -> Taken:
        """See `LeaseAuthority.exchange`."""
        if not settlement and want is None:
            return Taken([], None)
        try:
            self._check_connected()
            return self._exchange(group, worker_id, settlement or Settlement(), want)
        except GroupNotFoundError:  # removed: nothing is handed out until somebody subscribes again
            return self._store.leases.exchange(group, worker_id, settlement, None)
        except RedisUnavailableError as exc:
            self._degrade_by(exc)
        if not self._roots.is_alone:
            raise self._mode.refusal("the group's events were not handed out")
        while True:
            place = self._begin_alone(group)
            try:
                return self._store.leases.exchange(group, worker_id, settlement, want, place)
            except PlaceChangedError:  # another process of this root, or the thread that brings the server back
                if self._mode.is_connected:
                    return self.exchange(group, worker_id, settlement, want)

    def _exchange(self, group: str, worker_id: UUID, settlement: Settlement, want: Want | None) -> Taken:
        deadline = time.monotonic() + AWAIT_SECONDS
        self._in_flight.append(group)
        try:
            while True:
                self._learn(group)
                place, now, begun = self._mirror.place(), time.time_ns() // 1000, self._places[group]
                parts = parts_of(
                    begun,
                    worker_id,
                    settlement,
                    lambda token, now=now: self._mirror.begun_at(group, token, now),  # type: ignore[misc]
                    now,
                )
                if want is not None:
                    want = want._replace(lost_before=self._roots.lost_before(want.oldest))
                answer = self._ask(begun, worker_id, parts, want)
                if isinstance(answer, Answer):
                    return self._accept(begun, worker_id, place, parts, want, answer)
                if answer == "build":
                    self._learnt.pop(group, None)
                else:
                    self._overcome(answer, deadline)
        finally:
            self._in_flight.remove(group)

    def _ask(self, begun: Place, worker_id: UUID, parts: Sequence[Part], want: Want | None) -> Answer | str:
        try:
            return self._requests.ask(begun, worker_id, parts, want)
        except RedisUnavailableError as exc:
            if exc.may_have_run:
                self._doubtful.update((begun.group, part.token) for part in parts)
            raise

    def _accept(
        self, begun: Place, worker_id: UUID, place: bytes, parts: list[Part], want: Want | None, answer: Answer
    ) -> Taken:
        """Keep what the server has accepted and given, and only then hand it out."""
        group, given = begun.group, [each for each in answer.given if not each.dead_worker]
        lease_seconds = 0.0 if want is None else want.lease_seconds
        grant = Grant(
            [each.lease for each in given],
            [each.begun_at for each in given],
            lease_seconds,
            answer.next_id,
            answer.token,
            answer.paused,
            begun.birth,
        )
        try:
            is_in_place = self._keep(group, worker_id, place, parts, answer, grant)
        except StorageError:
            self._doubtful.update((group, part.token) for part in parts)
            self._requests.lose(group, answer.asked)
            raise
        if not is_in_place and given:  # another process of this root has told the server what is leased, without these
            self._requests.lose(group, answer.asked)
            return Taken([], 0.0)
        dead = [each for each in answer.given if each.dead_worker]
        if dead:
            self._bury(begun, worker_id, place, dead)
        return Taken(grant.leases, None if given else 0.0 if dead else answer.wait_seconds)

    def _keep(
        self, group: str, worker_id: UUID, place: bytes, parts: Sequence[Part], answer: Answer, grant: Grant | None
    ) -> bool:
        """Keep it; results that came too late are marked, or, if they may have come in time before, left to be told."""
        held = [part for part in parts if part.token in answer.held]
        results = [each for part in held for each in part.results]
        runs = [each for part in held for each in part.runs]
        for part in parts:
            doubt = (group, part.token)
            if part.token not in answer.held and doubt not in self._doubtful:
                late = part.marked_stale()
                results += late.results
                runs += late.runs
            self._doubtful.discard(doubt)
        changes = [(part.change, part.settled()) for part in held]
        is_in_place = self._mirror.keep(place, worker_id, changes, results, runs, group, grant)
        if results or runs:
            self._store.results.stored.ring()
        return is_in_place

    def _bury(self, begun: Place, worker_id: UUID, place: bytes, dead: Sequence[Given]) -> None:
        """Declare those dead whose last attempt ran out; if that fails they run out once more, for another worker."""
        now = time.time_ns() // 1000
        parts = [part_of_dead(begun, each.lease, UUID(each.dead_worker), each.begun_at, now) for each in dead]
        try:
            answer = self._ask(begun, worker_id, parts, None)
        except RedisUnavailableError as exc:
            logger.warning("dead letters not declared yet: group=%s error=%s", begun.group, exc)
            return
        if isinstance(answer, Answer):
            self._keep(begun.group, worker_id, place, parts, answer, None)

    def renew(self, group: str, worker_id: UUID, tokens: Sequence[int], lease_seconds: float) -> set[int]:
        """See `LeaseAuthority.renew`; without Redis, what this root remembers is renewed, to be told when it joins."""
        held = self._look(lambda: self._steering.renew(group, worker_id, tokens, lease_seconds))
        known = self._store.leases.renew(group, worker_id, sorted(tokens if held is None else held), lease_seconds)
        return known if held is None else held

    # -- looking ---------------------------------------------------------------------------------------------

    def is_finished(self, group: str, tail: int) -> bool:
        """See `LeaseAuthority.is_finished`."""
        look = self._look(lambda: self._steering.look(group, tail))
        if look is not None:
            return bool(look.is_finished) and group not in self._in_flight
        if group in self._starts and self._mirror.beginning(group) is None:
            return self._starts[group] > tail
        if is_shared(self._mirror.place()):
            return not self._mirror.unfinished(group, tail)
        return self._store.groups.is_finished(group, tail)

    def info(self, tail: int) -> list[GroupInfo]:
        """See `LeaseAuthority.info`; without Redis, as far as this root knows."""
        known = {each.name: each for each in self._store.groups.info(tail)}
        if is_shared(self._mirror.place()):
            for name, info in known.items():
                unfinished = self._mirror.unfinished(name, tail)
                lag = sum(last_id - first_id + 1 for first_id, last_id in unfinished)
                known[name] = GroupInfo(name, info.next_id, lag, info.leased, info.waiting, info.dead, info.paused)
        for name in sorted({*known, *(self._look(self._steering.names) or ())}):
            look = self._look(lambda name=name: self._steering.look(name, tail))  # type: ignore[misc]
            if look is not None:
                known[name] = _info(name, look, tail)
        return [known[name] for name in sorted(known)]

    def oldest_unfinished(self) -> int | None:
        """See `LeaseAuthority.oldest_unfinished`."""
        if not is_shared(self._mirror.place()):
            return self._store.groups.oldest_unfinished()
        names = {*self._mirror.names(), *(self._look(self._steering.names) or ())}
        oldest = [self._oldest_unfinished(name) for name in names]
        return min(oldest, default=None)

    def _oldest_unfinished(self, group: str) -> int:
        look = self._look(lambda: self._steering.look(group, 0))
        if look is not None:
            return min(look.next_id, look.oldest or look.next_id)
        unfinished = self._mirror.unfinished(group, _LAST_ID)
        return unfinished[0][0] if unfinished else 1  # known to the server alone, and that is lost: keep all

    def dead_letters(self, group: str, page_id: str | None, limit: int) -> Page[DeadLetter]:
        """See `LeaseAuthority.dead_letters`; other roots' are here as soon as they were told of."""
        if self._mode.is_connected and self._mirror.beginning(group) is None:
            self._look(lambda: self._learn(group))
        return self._store.groups.dead_letters(group, page_id, limit)

    def _look(self, question: Callable[[], R]) -> R | None:
        """Return what Redis says, None where it cannot be asked."""
        if not self._mode.is_connected:
            return None
        try:
            return question()
        except RedisUnavailableError as exc:
            self._degrade_by(exc)
            return None

    # -- steering --------------------------------------------------------------------------------------------

    def pause(self, group: str, paused: bool) -> None:
        """See `LeaseAuthority.pause`."""
        if self._is_steered_here("the group was not paused" if paused else "the group does not go on"):
            return self._store.groups.pause(group, paused)
        body = self._steer(group, lambda begun: self._steering.pause(begun, paused))
        self._store.apply([(GROUP, body)], {})

    def requeue(self, group: str, event_ids: Sequence[int] | None) -> int:
        """See `LeaseAuthority.requeue`."""
        if self._is_steered_here("the dead letters were not requeued"):
            return self._store.groups.requeue(group, event_ids)
        now = time.time_ns() // 1000
        count, body = self._steer(group, lambda begun: self._steering.requeue(begun, now, event_ids))
        if count:
            self._store.apply([(GROUP, body)], {})
        return count

    def remove(self, group: str) -> None:
        """See `LeaseAuthority.remove`."""
        while self._is_steered_here("the group was not removed"):
            try:
                return self._store.leases.remove(group, self._mirror.be_alone())
            except PlaceChangedError:  # the server is coming back
                self._wait(_PAUSE_SECONDS)
        self._store.apply([(GROUP, self._steer(group, self._steering.remove))], {})

    def forget_unfinished(self) -> None:
        """See `LeaseAuthority.forget_unfinished`; without Redis, it hears of it when this root joins."""
        self._look(lambda: self._checkpoints.tell(anew=True))

    def _is_steered_here(self, what_not: str) -> bool:
        """Return whether this root decides alone; raise CoordinationError if nobody can."""
        if self._mode.is_connected:
            return False
        if not self._roots.is_alone:
            raise self._mode.refusal(what_not)
        self._mirror.be_alone()
        return True

    def _steer(self, group: str, ask: Callable[[Place], R | None]) -> R:
        try:
            while True:
                self._learn(group)
                if (answer := ask(self._places[group])) is not None:
                    return answer
                self._learnt.pop(group, None)
        except RedisUnavailableError as exc:
            self._degrade_by(exc)
            raise self._mode.refusal(
                "whether it was done is unknown" if exc.may_have_run else "it was not done"
            ) from exc

    def _check_connected(self) -> None:
        if not self._mode.is_connected:
            raise RedisUnavailableError(str(self._mode.error))

    def _degrade_by(self, exc: RedisUnavailableError) -> None:
        if self._mode.is_connected:
            self._degrade(exc)


def _info(name: str, look: Look, tail: int) -> GroupInfo:
    lag = max(0, tail - look.next_id + 1) + look.leased + look.waiting
    return GroupInfo(name, look.next_id, lag, look.leased, look.waiting, look.dead, bool(look.paused))
