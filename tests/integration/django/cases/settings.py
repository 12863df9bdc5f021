"""What is wrong with ``EVENTY_SYNC`` is said by the checks, and by whoever uses a queue without them."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from eventy_sync import FileEventQueue, JsonSerializer, RedisFileEventQueue
from eventy_sync.contrib.django import close_queues, get_queue
from eventy_sync.contrib.django.checks import check_settings
from eventy_sync.contrib.settings import keys_of

SECRET = "s3cr3t"


class SettingsTests(SimpleTestCase):
    """Each wrong setting is one message with its name and what to do."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.addCleanup(close_queues)
        self.root = Path(directory.name) / "orders"

    def only(self, identifier: str, *says: str, **entry: Any) -> None:
        """The queue has this one problem, in the checks and when it is used."""
        with self.settings(EVENTY_SYNC={"default": entry}):
            (message,) = check_settings(None)
            assert message.id == f"eventy_sync.{identifier}"
            with pytest.raises(ImproperlyConfigured) as caught:
                get_queue()
        for text in (_text(message), str(caught.value)):
            assert "EVENTY_SYNC['default']" in text
            assert SECRET not in text
            for each in says:
                assert each in text, text
        assert caught.value.__context__ is None

    def messages(self, configured: Any) -> list[CheckMessage]:
        with self.settings(EVENTY_SYNC=configured):
            return check_settings(None)

    def test_good_settings_have_no_message(self) -> None:
        """Files alone, or Redis, or a Redis that the environment may name."""
        entry = {"ROOT_DIR": self.root, "PAYLOAD_TYPE": "shop.events.Order", "RETENTION": None}
        for more in ({}, {"REDIS_URL": "redis://localhost", "JOURNAL_LENGTH": 5}, {"REDIS_URL": "", "REDIS_DB": 1}):
            assert self.messages({"default": {**entry, **more}}) == []

    def test_missing_settings_are_named(self) -> None:
        """No EVENTY_SYNC at all, or something else than a dict of dicts."""
        for wrong in (None, [], {"default": 7}, {7: {}}):
            (message,) = self.messages(wrong)
            assert message.id == "eventy_sync.E001"
            assert '"ROOT_DIR": BASE_DIR' in str(message.hint)

    def test_a_wrong_key_is_named_with_what_was_meant(self) -> None:
        """A letter too few, or lower case."""
        self.only("E002", "'ROOTDIR_'", "Did you mean 'ROOT_DIR'?", ROOT_DIR=self.root, ROOTDIR_=1)
        self.only("E002", "Did you mean 'PAYLOAD_TYPE'?", ROOT_DIR=self.root, payload_type="dict")
        self.only("E002", "Did you mean 'REDIS_URL'?", ROOT_DIR=self.root, REDISURL=f"redis://:{SECRET}@h")
        self.only("E002", "'WORKER_ID'", ROOT_DIR=self.root, WORKER_ID=1)

    def test_a_missing_root_is_named(self) -> None:
        """No ROOT_DIR, or one that is no path."""
        self.only("E003", "no ROOT_DIR", 'BASE_DIR / "queues"', PAYLOAD_TYPE="dict")
        self.only("E003", "not the path", ROOT_DIR="")
        self.only("E003", "not the path", ROOT_DIR=7)

    def test_a_relative_root_is_warned_of(self) -> None:
        """It works, in each process where that happens to stand."""
        (message,) = self.messages({"default": {"ROOT_DIR": "orders"}})
        assert message.id == "eventy_sync.W001"

    def test_a_type_that_cannot_be_imported_is_named(self) -> None:
        """A wrong module, a wrong class, no type at all, one that cannot be stored."""
        self.only("E004", "shp", "shop.events.Order", ROOT_DIR=self.root, PAYLOAD_TYPE="shp.events.Order")
        self.only("E004", "Ordre", ROOT_DIR=self.root, PAYLOAD_TYPE="shop.events.Ordre")
        self.only("E004", "cannot be imported", ROOT_DIR=self.root, PAYLOAD_TYPE="no such")
        self.only("E004", "cannot be stored", ROOT_DIR=self.root, PAYLOAD_TYPE="threading.Thread")

    def test_a_module_that_raises_is_named(self) -> None:
        """What it raises is not passed on whole, for it may say anything."""
        with mock.patch.dict(sys.modules):
            (Path(sys.path[0]) / "broken_events.py").write_text(f"raise OSError('{SECRET}')")
            self.only("E004", "raises OSError", ROOT_DIR=self.root, PAYLOAD_TYPE="broken_events.Order")

    def test_missing_redis_is_named(self) -> None:
        """A REDIS_URL without redis-py says what to install, and its other keys are not called unknown."""
        with mock.patch.dict(sys.modules, {"eventy_sync.redis": None}):
            keys = {"REDIS_URL": f"redis://:{SECRET}@h", "JOURNAL_LENGTH": 7}
            self.only("E005", "pip install", "eventy-sync[redis]", ROOT_DIR=self.root, **keys)

    def test_a_key_of_redis_without_a_url_is_named(self) -> None:
        """Such a queue would silently be one of files alone."""
        self.only("E006", "REDIS_PASSWORD", "REDIS_URL", ROOT_DIR=self.root, REDIS_PASSWORD=SECRET)

    def test_a_bad_url_is_named_without_its_password(self) -> None:
        """A wrong scheme, characters that must be encoded, no text."""
        for url in (f"http://:{SECRET}@h", f"redis://:{SECRET}/x@h", f"redis://:{SECRET}@h/{SECRET}", b"redis://"):
            self.only("E007", "REDIS_URL", ROOT_DIR=self.root, REDIS_URL=url)

    def test_a_serializer_that_is_none_is_named(self) -> None:
        """An unknown name, or a class that is not there."""
        self.only("E008", "EVENT_SERIALIZER", "msgpack", ROOT_DIR=self.root, EVENT_SERIALIZER="yaml")
        self.only("E008", "EVENT_SERIALIZER", ROOT_DIR=self.root, EVENT_SERIALIZER="shop.events.Nothing")

    def test_a_serializer_may_be_named_by_its_path(self) -> None:
        """A class of the application's own."""
        entry = {"ROOT_DIR": self.root, "EVENT_SERIALIZER": "eventy_sync.serializers.JsonSerializer"}
        with self.settings(EVENTY_SYNC={"default": entry}):
            assert isinstance(get_queue().event_serializer, JsonSerializer)

    def test_a_value_that_is_refused_is_named(self) -> None:
        """By its type, or by the queue itself."""
        self.only("E009", "DURABILITY", "fsync", ROOT_DIR=self.root, DURABILITY="never")
        self.only("E009", "SEGMENT_BYTES", "whole number", ROOT_DIR=self.root, SEGMENT_BYTES="7")
        self.only("E009", "RETENTION", ROOT_DIR=self.root, RETENTION={"max_age": 7})
        self.only("E009", "DELIVER_AT_ONCE", ROOT_DIR=self.root, DELIVER_AT_ONCE="yes")
        redis = {"REDIS_URL": "redis://h", "REDIS_PASSWORD": SECRET.encode()}
        self.only("E009", "REDIS_PASSWORD", "not a text", ROOT_DIR=self.root, **redis)

    def test_all_that_is_wrong_is_named_at_once(self) -> None:
        """Nobody mends one mistake to meet the next; the error without checks has all of it as well."""
        wrong = {"DURABILITY": "never", "RETENTION": "x", "REDIS_URL": f"http://:{SECRET}@h", "PAYLOAD_TYPE": "shp.O"}
        configured = {"default": {"ROOT_DIR": self.root, "QQ": 1, **wrong}}
        messages = self.messages(configured)
        assert sorted(each.id or "" for each in messages) == [f"eventy_sync.E00{n}" for n in (2, 4, 7, 9, 9)]
        with self.settings(EVENTY_SYNC=configured), pytest.raises(ImproperlyConfigured) as caught:
            get_queue()
        for text in (" ".join(map(_text, messages)), str(caught.value)):
            assert all(f"['default']['{key}']" in text for key in wrong), text
            assert SECRET not in text

    def test_two_queues_do_not_share_a_root(self) -> None:
        """They would be one queue under two names."""
        (message,) = self.messages({"default": {"ROOT_DIR": self.root}, "other": {"ROOT_DIR": str(self.root)}})
        assert message.id == "eventy_sync.E010"

    def test_a_wrong_alias_is_named_with_what_was_meant(self) -> None:
        """Whoever asks for a queue that is not there learns which are."""
        configured = {"default": {"ROOT_DIR": self.root}}
        with self.settings(EVENTY_SYNC=configured), pytest.raises(ImproperlyConfigured, match="mean 'default'"):
            get_queue("defalt")

    def test_every_field_of_a_queue_is_a_key(self) -> None:
        """One list of them: the classes' own."""
        keys = {"ROOT_DIR", "PAYLOAD_TYPE", "NAME", "EVENT_SERIALIZER", "DURABILITY", "SEGMENT_BYTES", "RETENTION"}
        assert keys | {"CLAIM_EXPIRATION_SECONDS"} <= set(keys_of(FileEventQueue))
        assert {"REDIS_URL", "REDIS_DB", "REDIS_PASSWORD", "REDIS_PREFIX"} <= set(keys_of(RedisFileEventQueue))

    def test_the_settings_reach_the_queue(self) -> None:
        """A queue is made of them, and made anew when they change."""
        with self.settings(EVENTY_SYNC={"default": {"ROOT_DIR": self.root, "DURABILITY": "os", "NAME": "o"}}):
            first = get_queue()
            assert (first.root_dir, first.durability, first.name) == (self.root, "os", "o")
            assert get_queue() is first
        with self.settings(EVENTY_SYNC={"default": {"ROOT_DIR": self.root, "REDIS_URL": "redis://127.0.0.1:1"}}):
            assert isinstance(get_queue(), RedisFileEventQueue)

    def test_threads_that_ask_at_once_get_one_queue(self) -> None:
        """It is opened once, whoever comes first."""
        with self.settings(EVENTY_SYNC={"default": {"ROOT_DIR": self.root}}):
            start = threading.Barrier(16)

            def ask(_: int) -> int:
                start.wait()
                return get_queue().publish({}).id

            with ThreadPoolExecutor(16) as threads:
                assert sorted(threads.map(ask, range(16))) == list(range(1, 17))

    def test_a_child_of_a_fork_has_the_queue_as_well(self) -> None:
        """Open, under a worker id of its own."""
        with self.settings(EVENTY_SYNC={"default": {"ROOT_DIR": self.root}}):
            parent_id = get_queue().get_worker_id()
            if (pid := os.fork()) == 0:
                is_right = get_queue().publish({}).id == 1 and get_queue().get_worker_id() != parent_id
                os._exit(0 if is_right else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert get_queue().publish({}).id == 2


def _text(message: CheckMessage) -> str:
    return f"{message.msg} {message.hint}"
