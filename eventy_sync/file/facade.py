"""What an open file queue answers: each method here hands over to the part that knows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from eventy_sync.delivery.group_options import check_group
from eventy_sync.errors import GroupInUseError
from eventy_sync.event_queue import EventQueue
from eventy_sync.file.claims import ClaimHandle
from eventy_sync.file.engine import Engine
from eventy_sync.file.events import check_event_id
from eventy_sync.file.waiting import wait_for_result
from eventy_sync.models import Claim, DeadLetter, EventResult, GroupInfo, Page, QueueEvent

T = TypeVar("T")


class Facade(EventQueue[T]):
    """Events that are there, results, claims and groups."""

    @abstractmethod
    def _opened(self) -> Engine[T]:
        """Return the engine of an open queue."""

    @abstractmethod
    def _up_to_date(self) -> Engine[T]:
        """Return the engine of an open queue, with what other roots have published."""

    # -- events ----------------------------------------------------------------------------------------------

    def get_event(self, event_id: int) -> QueueEvent[T]:
        return self._up_to_date().events.get(event_id)

    def batch_get_events(self, event_ids: Sequence[int]) -> list[QueueEvent[T] | None]:
        return self._up_to_date().events.batch_get(event_ids)

    def search_events(
        self,
        page_id: str | None = None,
        limit: int = 100,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> Page[QueueEvent[T]]:
        return self._up_to_date().events.search(page_id, limit, created_at__gte, created_at__lte)

    def count_events(self, created_at__gte: datetime | None = None, created_at__lte: datetime | None = None) -> int:
        return self._up_to_date().events.count(created_at__gte, created_at__lte)

    def iter_events(
        self, from_index: int = 1, follow: bool = False, timeout: float | None = None
    ) -> Iterator[QueueEvent[T]]:
        engine = self._up_to_date()
        if follow:
            engine.dispatcher.watch()  # now: Ctrl-C is for whoever waits later, and a thread's start does not bear it
        return engine.events.iterate(from_index, follow, timeout, engine.dispatcher.wait_beyond)

    # -- results ---------------------------------------------------------------------------------------------

    def get_result(self, result_id: UUID) -> EventResult:
        return self._opened().store.results.get(result_id)

    def batch_get_results(self, result_ids: Sequence[UUID]) -> list[EventResult | None]:
        return self._opened().store.results.batch_get(result_ids)

    def search_results(
        self,
        page_id: str | None = None,
        limit: int = 100,
        event_id__eq: int | None = None,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
        success__eq: bool | None = None,
        group__eq: str | None = None,
    ) -> Page[EventResult]:
        filters = (event_id__eq, worker_id__eq, created_at__gte, created_at__lte, success__eq, group__eq)
        return self._opened().store.results.search(page_id, limit, *filters)

    def count_results(
        self,
        event_id__eq: int | None = None,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
        success__eq: bool | None = None,
        group__eq: str | None = None,
    ) -> int:
        filters = (event_id__eq, worker_id__eq, created_at__gte, created_at__lte, success__eq, group__eq)
        return self._opened().store.results.count(*filters)

    def wait_for_result(self, event_id: int, timeout: float | None = None, *, group: str | None = None) -> EventResult:
        return wait_for_result(self._opened(), event_id, timeout, group)

    # -- claims ----------------------------------------------------------------------------------------------

    def create_claim(self, claim_id: str, data: Any = None, *, ttl_seconds: float | None = None) -> bool:
        return self._opened().claims.create(claim_id, data, ttl_seconds) is not None

    def claim(self, claim_id: str, data: Any = None, *, ttl_seconds: float | None = None) -> ClaimHandle:
        return ClaimHandle(self._opened().claims, claim_id, data, ttl_seconds)

    def renew_claim(self, claim_id: str, *, ttl_seconds: float | None = None) -> Claim:
        return self._opened().claims.renew(claim_id, ttl_seconds)

    def release_claim(self, claim_id: str) -> bool:
        return self._opened().claims.release(claim_id)

    def get_claim(self, claim_id: str) -> Claim:
        return self._opened().claims.get(claim_id)

    def batch_get_claims(self, claim_ids: Sequence[str]) -> list[Claim | None]:
        return self._opened().claims.batch_get(claim_ids)

    def search_claims(
        self,
        page_id: str | None = None,
        limit: int = 100,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> Page[Claim]:
        return self._opened().claims.search(page_id, limit, worker_id__eq, created_at__gte, created_at__lte)

    def count_claims(
        self,
        worker_id__eq: UUID | None = None,
        created_at__gte: datetime | None = None,
        created_at__lte: datetime | None = None,
    ) -> int:
        return self._opened().claims.count(worker_id__eq, created_at__gte, created_at__lte)

    # -- groups ----------------------------------------------------------------------------------------------

    def groups(self) -> list[GroupInfo]:
        engine = self._up_to_date()
        return engine.coordinator.leases.info(engine.log.tail())

    def pause_group(self, group: str) -> None:
        self._up_to_date().coordinator.leases.pause(check_group(group), True)

    def resume_group(self, group: str) -> None:
        engine = self._up_to_date()
        engine.coordinator.leases.pause(check_group(group), False)
        engine.dispatcher.look_at_groups()

    def dead_letters(self, group: str, page_id: str | None = None, limit: int = 100) -> Page[DeadLetter]:
        return self._up_to_date().coordinator.leases.dead_letters(check_group(group), page_id, limit)

    def requeue(self, group: str, event_ids: Sequence[int] | None = None) -> int:
        ids = None if event_ids is None else [check_event_id(each) for each in event_ids]
        engine = self._up_to_date()
        requeued = engine.coordinator.leases.requeue(check_group(group), ids)
        engine.dispatcher.look_at_groups()
        return requeued

    def remove_group(self, group: str) -> None:
        engine = self._up_to_date()
        if engine.dispatcher.takes_part_in(check_group(group)):
            raise GroupInUseError(group, 0)
        engine.coordinator.leases.remove(group)
