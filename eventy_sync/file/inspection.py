"""What an open queue tells of itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from eventy_sync.file.engine import Engine
from eventy_sync.models import GroupInfo


def health(engine: Engine[Any], worker_id: UUID) -> dict[str, Any]:
    """See `EventQueue.health`."""
    return {
        **engine.coordinator.health(),
        "tail": engine.log.tail(),
        "worker_id": worker_id,
        "root_id": engine.identity.root_id,
        "gaps": engine.dispatcher.gaps,
        "corrupt_records": engine.dispatcher.corrupt_records,
    }


def stats(engine: Engine[Any]) -> dict[str, Any]:
    """See `EventQueue.stats`."""
    return {
        "events": engine.log.tail() - engine.log.oldest() + 1,
        "oldest": engine.log.oldest(),
        "tail": engine.log.tail(),
        "size_bytes": engine.log.size_bytes(),
        "segments": len(engine.log.summaries()),
        "subscriptions": engine.store.subscriptions.count(),
        "results": engine.store.results.count(),
        "claims": engine.store.claims.count(),
        "groups": {each.name: _numbers(each) for each in engine.coordinator.leases.info(engine.log.tail())},
    }


def _numbers(group: GroupInfo) -> dict[str, Any]:
    numbers = asdict(group)
    del numbers["name"]
    return numbers
