"""Models are values: frozen, comparable, and they survive pickling."""

from __future__ import annotations

import pickle
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import pytest

from eventy_sync import Claim, EventResult, Page, QueueEvent, Subscription

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
KEY = UUID(int=1)
MODELS: list[Any] = [
    QueueEvent(1, {"a": 1}, NOW),
    EventResult(KEY, 1, KEY, True, "done", NOW),
    Claim("name", KEY, NOW, None, 7, NOW),
    Subscription(KEY, print, NOW, 1),
    Page([1, 2], None),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_model_is_a_value(model: Any) -> None:
    """Equal to its copy, and nobody can change it."""
    assert pickle.loads(pickle.dumps(model)) == model
    with pytest.raises(AttributeError):
        setattr(model, "id" if hasattr(model, "id") else "items", 5)
