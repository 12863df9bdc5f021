"""Publishing keeps to transactions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import TestCase, TransactionTestCase
from shop.events import Order

from eventy_sync import InvalidPayloadError
from eventy_sync.contrib.django import close_queues, get_queue, publish_on_commit


class TransactionTests(TransactionTestCase):
    """With real commits."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.addCleanup(close_queues)
        entry = {"ROOT_DIR": Path(directory.name) / "orders", "PAYLOAD_TYPE": "shop.events.Order"}
        changed = self.settings(EVENTY_SYNC={"default": entry, "other": {"ROOT_DIR": Path(directory.name) / "other"}})
        changed.enable()
        self.addCleanup(changed.disable)

    def test_outside_of_a_transaction_it_is_published_at_once(self) -> None:
        """There is nothing to wait for."""
        publish_on_commit(Order(1, 2.5))
        assert get_queue().get_event(1).payload == Order(1, 2.5)

    def test_inside_one_it_is_published_at_the_commit(self) -> None:
        """Not before, and in the order of the calls."""
        with transaction.atomic():
            publish_on_commit(Order(1, 2.5))
            publish_on_commit(Order(2, 2.5))
            assert get_queue().stats()["tail"] == 0
        assert [each.payload.id for each in get_queue().iter_events()] == [1, 2]

    def test_a_rollback_publishes_nothing(self) -> None:
        """Neither of the whole, nor of a savepoint alone."""
        with transaction.atomic():
            publish_on_commit(Order(1, 2.5))
            transaction.set_rollback(True)
        with transaction.atomic():
            publish_on_commit(Order(2, 2.5))
            with transaction.atomic():
                publish_on_commit(Order(3, 2.5))
                transaction.set_rollback(True)
        assert [each.payload.id for each in get_queue().iter_events()] == [2]

    def test_a_wrong_payload_is_refused_while_it_can_be_rolled_back(self) -> None:
        """The error comes from the call, and the transaction with it is not committed."""
        with transaction.atomic(), pytest.raises(InvalidPayloadError):
            publish_on_commit("no order")
        with transaction.atomic(), pytest.raises(ImproperlyConfigured):
            publish_on_commit(Order(1, 2.5), alias="nowhere")
        assert get_queue().stats()["tail"] == 0

    def test_the_queue_is_chosen_by_its_alias(self) -> None:
        """And the database by its own."""
        with transaction.atomic():
            publish_on_commit({"any": "thing"}, using="default", alias="other")
        assert get_queue("other").get_event(1).payload == {"any": "thing"}
        assert get_queue().stats()["tail"] == 0

    def test_options_are_those_of_publish(self) -> None:
        """A key and a delay are passed on; what publish does not know, it refuses."""
        for _ in range(2):
            publish_on_commit(Order(1, 2.5), key="order-1", delay_seconds=3600)
        assert get_queue().stats()["tail"] == 1
        with pytest.raises(TypeError):
            publish_on_commit(Order(1, 2.5), no_such_option=True)


class InTestCaseTests(TestCase):
    """In Django's TestCase, whose transaction is never committed."""

    def test_callbacks_are_caught_as_usual(self) -> None:
        """captureOnCommitCallbacks publishes, into a queue that delivers at once."""
        with self.settings(EVENTY_SYNC={"default": {"DELIVER_AT_ONCE": True, "PAYLOAD_TYPE": "shop.events.Order"}}):
            publish_on_commit(Order(1, 2.5))
            assert get_queue().stats()["tail"] == 0
            with self.captureOnCommitCallbacks(execute=True):
                publish_on_commit(Order(2, 2.5))
            assert [each.payload.id for each in get_queue().iter_events()] == [2]
