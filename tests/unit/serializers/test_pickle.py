"""Pickle runs code, so it is used only where its name is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eventy_sync import FileEventQueue, InvalidPayloadError


class Marker:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_a_pickled_event_runs_nothing_in_a_queue_of_another_serializer(root: Path, tmp_path: Path, name: str) -> None:
    """The event names its encoding; reading it is refused and says how to read it on purpose."""
    marker = tmp_path / "ran"
    with FileEventQueue(root, Any, event_serializer="pickle") as queue:
        queue.publish(Marker(marker))
    with (
        FileEventQueue(root, Any, event_serializer=name) as queue,
        pytest.raises(InvalidPayloadError, match="event 1 was written by the serializer 'pickle'"),
    ):
        queue.get_event(1)
    assert not marker.exists()


def test_a_pickled_event_is_opened_by_name(root: Path, tmp_path: Path) -> None:
    """Whoever asks for pickle gets it, with all it does."""
    marker = tmp_path / "ran"
    with FileEventQueue(root, Any, event_serializer="pickle") as queue:
        queue.publish(Marker(marker))
        queue.get_event(1)
    assert marker.exists()


def test_an_event_of_the_other_safe_serializer_is_read(root: Path) -> None:
    """A queue may change from MessagePack to JSON and keep its events."""
    with FileEventQueue(root, dict, event_serializer="msgpack") as queue:
        queue.publish({"a": 1})
    with FileEventQueue(root, dict) as queue:
        queue.publish({"a": 2})
        assert [event.payload for event in queue.iter_events()] == [{"a": 1}, {"a": 2}]


def test_a_record_says_which_serializer_wrote_it(root: Path) -> None:
    """JSON as it is, everything else as base64 under its name."""
    with FileEventQueue(root, dict, event_serializer="pickle") as queue:
        queue.publish({})
    (segment,) = (root / "events").glob("*.log")
    record = json.loads(segment.read_bytes().splitlines()[0][9:])
    assert record["encoding"] == "pickle"
    assert "payload" not in record
