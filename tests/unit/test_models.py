"""Models are values: frozen, comparable, and they survive pickling."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import msgspec
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


def test_an_event_is_a_struct_and_the_others_are_dataclasses() -> None:
    """One is made for every event that is read, so it is the kind that is quick to make."""
    assert isinstance(MODELS[0], msgspec.Struct)
    assert all(dataclasses.is_dataclass(model) and not hasattr(model, "__dict__") for model in MODELS[1:])


def test_no_field_can_be_changed_taken_away_or_added() -> None:
    """On every model, for every field."""
    for model in MODELS:
        for name in [*model.__annotations__, "no_such_field"]:
            with pytest.raises((AttributeError, TypeError)):
                setattr(model, name, None)
            with pytest.raises((AttributeError, TypeError)):
                delattr(model, name)


def test_models_of_plain_values_can_be_in_a_set() -> None:
    """Equal ones are one there."""
    assert len({QueueEvent(1, "a", NOW), QueueEvent(1, "a", NOW), QueueEvent(2, "a", NOW)}) == 2
    assert len({MODELS[2], copy.copy(MODELS[2])}) == 1
