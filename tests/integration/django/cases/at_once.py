"""DELIVER_AT_ONCE: what is published is handled in the same thread, after it was written and read back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase

from eventy_sync import InvalidPayloadError, QueueEvent, RetryEvent, SkipEvent, Subscriber
from eventy_sync.contrib.django import close_queues, get_queue, subscriber, subscribing


class AtOnceTests(SimpleTestCase):
    """Handlers are declared by each test, as `subscribers.py` does."""

    def setUp(self) -> None:
        before = list(subscribing._declarations)
        self.addCleanup(lambda: subscribing._declarations.__setitem__(slice(None), before))
        self.addCleanup(close_queues)
        changed = self.settings(EVENTY_SYNC={"tests": {"DELIVER_AT_ONCE": True, "PAYLOAD_TYPE": "dict"}})
        changed.enable()
        self.addCleanup(changed.disable)
        self.seen: list[Any] = []

    def see(self, event: QueueEvent[Any]) -> None:
        self.seen.append(event.payload)

    def test_a_handler_runs_before_publish_returns(self) -> None:
        """In the same thread; no other is started."""
        subscriber(lambda event: self.seen.append(threading.current_thread()))
        subscriber(alias="tests")(lambda event: self.seen.append(threading.current_thread()))
        before = set(threading.enumerate())
        event = get_queue("tests").publish({"n": 1})
        assert self.seen == [threading.current_thread()]
        assert set(threading.enumerate()) == before
        assert event.payload == {"n": 1}

    def test_the_payload_has_gone_through_the_serializer(self) -> None:
        """What handlers get is what is left of it on disk, and what cannot be stored is refused."""
        subscriber(alias="tests")(self.see)
        get_queue("tests").publish({"at": datetime(2026, 1, 31, tzinfo=timezone.utc)})
        assert self.seen == [{"at": "2026-01-31T00:00:00Z"}]
        with pytest.raises(InvalidPayloadError):
            get_queue("tests").publish({"thing": object()})

    def test_what_a_handler_raises_comes_out_of_publish(self) -> None:
        """As it is, so that a test sees its own error."""

        def fail(event: QueueEvent[Any]) -> None:
            raise ZeroDivisionError("of the handler")

        subscriber(alias="tests")(fail)
        with pytest.raises(ZeroDivisionError, match="of the handler"):
            get_queue("tests").publish({})

    def test_each_subscriber_and_one_of_each_group_gets_an_event(self) -> None:
        """As in one worker."""
        for name, group in (("a", None), ("b", None), ("c", "billing"), ("d", "billing"), ("e", "mail")):
            subscriber(alias="tests", group=group)(self._naming(name))
        get_queue("tests").publish_many([{}, {}])
        assert self.seen == ["a", "b", "c", "e"] * 2

    def _naming(self, name: str) -> Callable[[Any], None]:
        return lambda event: self.seen.append(name)

    def test_what_a_handler_publishes_is_delivered_too(self) -> None:
        """Before the publish that it comes from returns."""

        def follow(event: QueueEvent[Any]) -> None:
            self.seen.append(event.payload["n"])
            if event.payload["n"] < 3:
                get_queue("tests").publish({"n": event.payload["n"] + 1})

        subscriber(alias="tests")(follow)
        get_queue("tests").publish({"n": 1})
        assert self.seen == [1, 2, 3]

    def test_control_signals_are_minded(self) -> None:
        """A skipped event is no error, and one to be tried again is, without a pause, until its attempts are over."""

        def skip(event: QueueEvent[Any]) -> None:
            raise SkipEvent

        def retry(event: QueueEvent[Any]) -> None:
            self.see(event)
            if len(self.seen) < event.payload["runs"]:
                raise RetryEvent(delay_seconds=3600)

        subscriber(alias="tests")(skip)
        subscriber(alias="tests", group="billing", max_attempts=3)(retry)
        get_queue("tests").publish({"runs": 3})
        assert len(self.seen) == 3
        self.seen.clear()
        with pytest.raises(RetryEvent):
            get_queue("tests").publish({"runs": 4})

    def test_a_key_is_delivered_once_and_a_delay_not_waited_for(self) -> None:
        """The second publish returns the event that is there."""
        subscriber(alias="tests")(self.see)
        for n in (1, 2):
            assert get_queue("tests").publish({"n": n}, key="order", delay_seconds=3600).id == 1
        assert self.seen == [{"n": 1}]

    def test_a_subscriber_object_is_run(self) -> None:
        """It gets the queue, too."""

        class Seeing(Subscriber[Any]):
            def on_event(inner, event: QueueEvent[Any], event_queue: Any) -> None:
                self.seen.append((event.id, event_queue))

        subscriber(alias="tests")(Seeing())
        get_queue("tests").publish({})
        assert self.seen == [(1, get_queue("tests"))]

    def test_nothing_reaches_the_real_queue(self) -> None:
        """The root and the server of the settings are left alone; the temporary root is gone in the end."""
        real = Path("real-orders").absolute()
        entry = {"DELIVER_AT_ONCE": True, "ROOT_DIR": real, "REDIS_URL": "redis://127.0.0.1:1", "JOURNAL_LENGTH": 5}
        with self.settings(EVENTY_SYNC={"tests": entry}):
            get_queue("tests").publish({})
            temporary = Path(get_queue("tests").root_dir)
            assert temporary.exists()
        assert not temporary.exists()
        assert not real.exists()

    def test_a_worker_has_nothing_to_do(self) -> None:
        """And says so."""
        with pytest.raises(CommandError, match="DELIVER_AT_ONCE"):
            call_command("eventy_worker", alias="tests")
