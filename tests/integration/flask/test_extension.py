"""An app's queue: its config, when it is opened, whose it is, and what handlers run in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from flask import Flask, current_app, g

from eventy_sync import (
    FileEventQueue,
    InvalidArgumentError,
    JsonSerializer,
    QueueEvent,
    RedisFileEventQueue,
    StorageError,
    Subscriber,
)
from eventy_sync.contrib.flask import Eventy
from eventy_sync.contrib.settings import keys_of
from eventy_sync.testing import deliver_all, isolated

SECRET = "s3cr3t"


@pytest.fixture
def make_app(root: Path) -> Iterator[Callable[..., Flask]]:
    """Make an app whose config has these settings, `ROOT_DIR` besides; the queues of all are closed at the end."""
    made: list[tuple[Flask, Eventy]] = []

    def make(eventy: Eventy, **settings: Any) -> Flask:
        app = Flask("shop")
        app.config.update({f"EVENTY_{key}": value for key, value in {"ROOT_DIR": root, **settings}.items()})
        eventy.init_app(app)
        made.append((app, eventy))
        return app

    yield make
    for app, eventy in made:
        with app.app_context():
            eventy.close()


# -- config ----------------------------------------------------------------------------------------------------------


def refused(*says: str, **settings: Any) -> None:
    """Check that the config is refused when the app is made, in one error that says this."""
    app = Flask("shop")
    app.config.update({f"EVENTY_{key}": value for key, value in settings.items()})
    with pytest.raises(InvalidArgumentError) as caught:
        Eventy(app)
    for each in says:
        assert each in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None
    assert "eventy" not in app.extensions


def test_a_missing_root_is_named(root: Path) -> None:
    """No EVENTY_ROOT_DIR, or one that is no path."""
    refused("EVENTY_ROOT_DIR is missing", 'app.config["EVENTY_ROOT_DIR"] = ')
    refused("EVENTY_ROOT_DIR is not the path", ROOT_DIR=7)
    refused("EVENTY_ROOT_DIR is not the path", ROOT_DIR="")


def test_a_wrong_key_is_named_with_what_was_meant(root: Path) -> None:
    """A letter too few, one that is none of a queue's, one that a process has of its own."""
    refused("EVENTY_REDISURL is no setting", "mean 'EVENTY_REDIS_URL'?", ROOT_DIR=root, REDISURL=f"redis://:{SECRET}@h")
    refused("EVENTY_QQ is no setting", "EVENTY_ROOT_DIR, EVENTY_PAYLOAD_TYPE", ROOT_DIR=root, QQ=SECRET)
    refused("EVENTY_WORKER_ID", ROOT_DIR=root, WORKER_ID=1)


def test_a_type_that_cannot_be_imported_is_named(root: Path) -> None:
    """A wrong module, a wrong class, one that cannot be stored."""
    refused("EVENTY_PAYLOAD_TYPE", "No module named 'shp'", ROOT_DIR=root, PAYLOAD_TYPE="shp.events.Order")
    refused("EVENTY_PAYLOAD_TYPE", "'email' has no 'Ordre'", ROOT_DIR=root, PAYLOAD_TYPE="email.Ordre")
    refused("EVENTY_PAYLOAD_TYPE", "cannot be stored", ROOT_DIR=root, PAYLOAD_TYPE="threading.Thread")


def test_a_bad_url_is_named_without_its_password(root: Path) -> None:
    """A wrong scheme, characters that must be encoded, no text."""
    for url in (f"http://:{SECRET}@h", f"redis://:{SECRET}/x@h", f"redis://:{SECRET}@h/{SECRET}", b"redis://"):
        refused("EVENTY_REDIS_URL", ROOT_DIR=root, REDIS_URL=url)


def test_a_key_of_redis_without_a_url_is_named(root: Path) -> None:
    """Such a queue would silently be one of files alone."""
    refused("EVENTY_REDIS_PASSWORD", 'app.config["EVENTY_REDIS_URL"] = ', ROOT_DIR=root, REDIS_PASSWORD=SECRET)


def test_missing_redis_is_named(root: Path) -> None:
    """An EVENTY_REDIS_URL without redis-py says what to install."""
    with mock.patch.dict(sys.modules, {"eventy_sync.redis": None}):
        refused("EVENTY_REDIS_URL", "eventy-sync[redis]", ROOT_DIR=root, REDIS_URL=f"redis://:{SECRET}@h")


def test_a_value_that_is_refused_is_named(root: Path) -> None:
    """By its type, or by the queue itself."""
    refused("EVENTY_DURABILITY", "fsync", ROOT_DIR=root, DURABILITY="never")
    refused("EVENTY_SEGMENT_BYTES", "whole number", ROOT_DIR=root, SEGMENT_BYTES="7")
    refused("EVENTY_EVENT_SERIALIZER", "msgpack", ROOT_DIR=root, EVENT_SERIALIZER="yaml")


def test_all_that_is_wrong_is_named_at_once() -> None:
    """Nobody mends one mistake to meet the next, of whatever kinds they are; each has a line."""
    wrong = {"DURABILTY": "os", "PAYLOAD_TYPE": "shp.Order", "REDIS_URL": f"http://:{SECRET}@h", "JOURNAL_LENGTH": 0}
    wrong |= {"ROOT_DIR": "", "NAME": 7, "RETENTION": "x", "DURABILITY": "never", "EVENT_SERIALIZER": "yaml"}
    app = Flask("shop")
    app.config.update({f"EVENTY_{key}": value for key, value in wrong.items()})
    with pytest.raises(InvalidArgumentError) as caught:
        Eventy(app)
    lines = str(caught.value).splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(f"EVENTY_{key}" for key in wrong)
    assert SECRET not in str(caught.value)


def test_a_relative_root_is_warned_of(
    tmp_path: Path, make_app: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works, in each process where that happens to stand."""
    monkeypatch.chdir(tmp_path)
    make_app(Eventy(), ROOT_DIR="orders")
    assert "EVENTY_ROOT_DIR is a relative path" in caplog.text


def test_every_field_of_a_queue_is_a_setting(make_app: Any, tmp_path: Path) -> None:
    """An empty URL is none, a path names a type or a serializer; the password is not in the app's own repr of it."""
    defaults = {"DURABILITY": "os", "NAME": "o", "REDIS_URL": "", "PAYLOAD_TYPE": "dict"}
    app = make_app(eventy := Eventy(), EVENT_SERIALIZER="eventy_sync.serializers.JsonSerializer", **defaults)
    with app.app_context():
        queue: Any = eventy.queue
    assert (type(queue), queue.durability, queue.name) == (FileEventQueue, "os", "o")
    assert queue.payload_type is dict
    assert isinstance(queue.event_serializer, JsonSerializer)
    settings = {"ROOT_DIR": tmp_path / "shared", "REDIS_URL": "redis://127.0.0.1:1", "REDIS_PASSWORD": SECRET}
    others = {"REDIS_PREFIX": "p", "JOURNAL_LENGTH": 7, "RESYNC": True, "RESYNC_LOCK_TIMEOUT_SECONDS": 2}
    shared = make_app(eventy, **settings, **others)
    assert SECRET not in repr(shared.extensions)
    with shared.app_context():
        queue = eventy.queue
    assert isinstance(queue, RedisFileEventQueue)
    assert (queue.redis_prefix, queue.journal_length, queue.resync) == ("p", 7, True)
    keys = {*settings, *others, *defaults, "EVENT_SERIALIZER"}
    rest = {"SEGMENT_BYTES", "RETENTION", "CLAIM_EXPIRATION_SECONDS", "REDIS_DB", "REDIS_CLIENT"}
    assert keys | rest == set(keys_of(RedisFileEventQueue))


def test_an_app_is_initialised_once(make_app: Any) -> None:
    """A second time would be a second queue under the same settings."""
    app = make_app(eventy := Eventy())
    with pytest.raises(InvalidArgumentError, match="already"):
        eventy.init_app(app)


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_nothing_is_made_before_it_is_used(make_app: Any, root: Path) -> None:
    """Not by init_app, and not by declaring handlers."""
    app = make_app(eventy := Eventy())
    eventy.subscriber(group="billing")(print)
    assert not root.exists()
    with app.app_context():
        eventy.queue.publish({})
    assert root.exists()


def test_a_queue_that_cannot_be_opened_is_tried_again(make_app: Any, root: Path) -> None:
    """The next request finds it when the cause is gone."""
    app = make_app(eventy := Eventy())
    root.write_text("in the way")
    with app.app_context():
        with pytest.raises(StorageError):
            _ = eventy.queue
        root.unlink()
        assert eventy.queue.publish({}).id == 1


def test_threads_that_ask_at_once_get_one_queue(make_app: Any) -> None:
    """It is opened once, whoever comes first."""
    app = make_app(eventy := Eventy())
    start = threading.Barrier(16)

    def ask(_: int) -> tuple[int, int]:
        start.wait()
        with app.app_context():
            return eventy.queue.publish({}).id, id(eventy.queue)

    with ThreadPoolExecutor(16) as threads:
        ids, queues = zip(*threads.map(ask, range(16)), strict=True)
    assert sorted(ids) == list(range(1, 17))
    assert len(set(queues)) == 1


def test_each_app_has_a_queue_of_its_own(make_app: Any, tmp_path: Path) -> None:
    """One Eventy serves both; the context says which is meant."""
    eventy = Eventy()
    first, second = make_app(eventy, ROOT_DIR=tmp_path / "a"), make_app(eventy, ROOT_DIR=tmp_path / "b")
    with first.app_context():
        eventy.queue.publish({"of": "first"})
    with second.app_context():
        assert eventy.queue.stats()["tail"] == 0
        eventy.queue.publish({"of": "second"})
    with first.app_context():
        assert eventy.queue.get_event(1).payload == {"of": "first"}


def test_outside_of_a_context_the_app_must_be_known(make_app: Any, root: Path) -> None:
    """That of `Eventy(app)` is; those of init_app are not, be there one or several."""
    make_app(eventy := Eventy())
    with pytest.raises(RuntimeError, match="app_context"):
        _ = eventy.queue
    app = Flask("other")
    app.config["EVENTY_ROOT_DIR"] = root
    bound = Eventy(app)
    assert bound.queue.publish({}).id == 1
    bound.close()


def test_a_closed_queue_is_opened_anew(make_app: Any) -> None:
    """As a test does that ends."""
    app = make_app(eventy := Eventy())
    with app.app_context():
        first = eventy.queue
        first.publish({})
        eventy.close()
        assert eventy.queue is not first
        assert eventy.queue.publish({}).id == 2


def end_child_by(use: Callable[[], int]) -> None:
    """End a fork's child with 0 if a thread of its own can publish; it ends in any case."""
    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(10)
    os._exit(1 if thread.is_alive() else 0)


def test_a_child_that_opens_the_queue_itself_may_do_so_in_any_thread(make_app: Any) -> None:
    """As a server's threads do, whatever thread of the parent has forked."""
    app = make_app(eventy := Eventy())

    def use() -> int:
        with app.app_context():
            return eventy.queue.publish({}).id

    if (pid := os.fork()) == 0:
        end_child_by(use)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert use() == 2


def test_a_child_of_a_fork_has_the_queue_as_well(make_app: Any) -> None:
    """Open, under a worker id of its own."""
    app = make_app(eventy := Eventy())
    with app.app_context():
        parent_id = eventy.queue.get_worker_id()
        if (pid := os.fork()) == 0:
            queue = eventy.queue
            os._exit(0 if queue.publish({}).id == 1 and queue.get_worker_id() != parent_id else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert eventy.queue.publish({}).id == 2


def test_a_fork_waits_for_a_queue_that_is_being_opened(make_app: Any) -> None:
    """The child never finds the lock held by a thread that it does not have."""
    app = make_app(eventy := Eventy())
    opening, never = threading.Event(), threading.Event()
    real_open = FileEventQueue.open

    def slow_open(queue: FileEventQueue[Any]) -> None:
        opening.set()
        never.wait(0.3)  # the fork is asked for meanwhile
        real_open(queue)

    def use() -> int:
        with app.app_context():
            return eventy.queue.publish({}).id

    with mock.patch.object(FileEventQueue, "open", slow_open), ThreadPoolExecutor(1) as threads:
        first = threads.submit(use)
        assert opening.wait(10)
        if (pid := os.fork()) == 0:
            end_child_by(use)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert first.result(10) > 0


CLOSES = """
import sys
from flask import Flask
from eventy_sync import FileEventQueue
from eventy_sync.contrib.flask import Eventy

close = FileEventQueue.close

def tell(queue, *arguments):
    close(queue, *arguments)
    print("closed")

FileEventQueue.close = tell
app = Flask("shop")
app.config["EVENTY_ROOT_DIR"] = sys.argv[1]
Eventy(app).queue.publish({})
"""


def test_the_queue_is_closed_at_the_end_of_the_process(root: Path) -> None:
    """Whatever is not yet synced is then."""
    done = subprocess.run([sys.executable, "-c", CLOSES, str(root)], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("closed\n", "")


# -- handlers ----------------------------------------------------------------------------------------------------------


class Note(Subscriber[Any]):
    """Notes in which app it is run."""

    seen: list[str]

    def __init__(self) -> None:
        self.seen = []

    def on_event(self, event: QueueEvent[Any], event_queue: Any) -> None:
        self.seen.append(current_app.name)


def test_handlers_run_inside_a_context_of_their_app(make_app: Any) -> None:
    """A function and a subscriber object, each event in a context of its own."""
    eventy, note, seen = Eventy(), Note(), []
    eventy.subscriber(note)

    @eventy.subscriber(group="billing")
    def bill(event: QueueEvent[Any]) -> None:
        seen.append((current_app.name, "left over" in g, eventy.queue.get_event(event.id).payload))
        setattr(g, "left over", True)

    with isolated(eventy.worker_queue(make_app(eventy))) as queue:
        queue.publish_many([1, 2])
        deliver_all(queue)
    assert seen == [("shop", False, 1), ("shop", False, 2)]
    assert note.seen == ["shop", "shop"]


def test_a_declaration_that_can_never_run_is_refused() -> None:
    """Where it stands, not when the worker starts."""
    eventy: Any = Eventy()
    with pytest.raises(InvalidArgumentError):
        eventy.subscriber("billing")
    with pytest.raises(InvalidArgumentError):
        eventy.subscriber(group="no\nname")(print)
