"""Groups of a queue on files: the methods of `GroupWork`, over whoever gives out the leases."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from eventy_sync.delivery.group_options import check_group
from eventy_sync.event_queue import EventQueue
from eventy_sync.file.engine import Engine
from eventy_sync.file.events import check_event_id
from eventy_sync.models import DeadLetter, GroupInfo, Page

T = TypeVar("T")


class FileGroupWork(EventQueue[T]):
    """The part of a file queue that has to do with groups."""

    @abstractmethod
    def _up_to_date(self) -> Engine[T]:
        """Return the engine of an open queue, with what other roots have published."""

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
