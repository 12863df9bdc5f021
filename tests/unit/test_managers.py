"""Queue managers: one queue for each payload type, and the one that the environment describes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from eventy_sync import EventQueue, FileQueueManager, InvalidArgumentError, QueueClosedError, StorageError
from eventy_sync.file.manager import queue_name

Wait = Callable[..., None]
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Order:
    id: int


@dataclass
class Invoice:
    id: int


def test_each_type_has_its_queue(root: Path) -> None:
    """Registered before or inside the block; open inside it only."""
    manager = FileQueueManager(root)
    manager.register(Order)
    with manager:
        manager.register(Invoice)
        manager.register(Order)
        assert manager.get_event_queue(Order).publish(Order(1)).id == 1
        assert manager.get_event_queue(Invoice).publish(Invoice(2)).id == 1
        assert manager.get_queue_types() == [Order, Invoice]
    with pytest.raises(QueueClosedError):
        manager.get_event_queue(Order).count_events()
    assert sorted(each.name for each in root.iterdir()) == sorted([queue_name(Order), queue_name(Invoice)])


def test_nested_blocks_close_with_the_outermost(root: Path) -> None:
    """As a queue's own do."""
    manager = FileQueueManager(root)
    manager.register(dict)
    with manager:
        with manager:
            pass
        assert manager.get_event_queue(dict).count_events() == 0


def test_a_block_that_begins_while_the_last_one_ends_has_open_queues(root: Path, wait_until: Wait) -> None:
    """The thread that ends the last block closes what that one used, and not what the next one uses."""
    manager = FileQueueManager(root)
    manager.register(dict)
    manager.register(Order)
    handling, may_end = threading.Event(), threading.Event()

    def handle(event: object) -> None:
        handling.set()
        assert may_end.wait(20)

    manager.__enter__()
    manager.get_event_queue(dict).subscribe(handle)
    manager.get_event_queue(dict).publish({})
    wait_until(handling.is_set)
    thread = threading.Thread(target=lambda: manager.__exit__(None, None, None))
    thread.start()
    try:
        wait_until(lambda: is_closed(manager.get_event_queue(dict)))  # and waits for its handler
        with manager:
            may_end.set()
            thread.join()
            assert manager.get_event_queue(Order).publish(Order(1)).id == 1
    finally:
        may_end.set()
        thread.join()


def is_closed(queue: EventQueue[Any]) -> bool:
    try:
        queue.count_events()
    except QueueClosedError:
        return True
    return False


def test_an_unregistered_type_is_refused(root: Path) -> None:
    """Also once it was deregistered; its events stay on disk."""
    with FileQueueManager(root) as manager:
        manager.register(dict)
        manager.get_event_queue(dict).publish({})
        manager.deregister(dict)
        manager.deregister(dict)
        with pytest.raises(InvalidArgumentError, match=r"call register\(\)"):
            manager.get_event_queue(dict)
        manager.register(dict)
        assert manager.get_event_queue(dict).count_events() == 1


@pytest.mark.parametrize(
    "payload_type", [dict, list[int], dict[str, "int | None"], Order | None, "a/../b", "\x00", "é" * 500]
)
def test_a_directory_name_is_plain(payload_type: object) -> None:
    """Nothing in a type's name can lead out of the directory."""
    name = queue_name(payload_type)
    assert name.isascii()
    assert "/" not in name
    assert not name.startswith((".", "-"))
    assert len(name) <= 200


ASK = "from eventy_sync import get_default_queue_manager as get; m = get(); print(type(m).__name__, m is get())"


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Ask for the default manager in a process with this environment."""

    def run(source: str = ASK, **environment: str) -> subprocess.CompletedProcess[str]:
        for name in [each for each in os.environ if each.startswith("EVENTY_")]:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=REPOSITORY)

    return run


Ask = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_environment_names_a_directory(ask: Ask, root: Path) -> None:
    """A file queue manager there, the same one each time."""
    assert ask(EVENTY_ROOT_DIR=str(root)).stdout == "FileQueueManager True\n"


def test_the_environment_names_a_redis_server(ask: Ask, root: Path) -> None:
    """Then each queue is coordinated by it; the password is not shown."""
    source = ASK + "; m.register(dict); print(m, m.get_event_queue(dict).redis_address)"
    done = ask(
        source, EVENTY_ROOT_DIR=str(root), EVENTY_REDIS_URL="redis://shop:6380/2", EVENTY_REDIS_PASSWORD="hunter2"
    )
    assert done.stdout.startswith("RedisQueueManager True\n")
    assert "redis://:***@shop:6380/2" in done.stdout
    assert "hunter2" not in done.stdout


def test_the_environment_names_the_serializer(ask: Ask, root: Path) -> None:
    """Its queues use it."""
    source = ASK + "; m.register(dict); q = m.get_event_queue(dict); print(q.event_serializer)"
    assert ask(source, EVENTY_ROOT_DIR=str(root), EVENTY_SERIALIZER="msgpack").stdout.endswith("msgpack\n")


def test_the_environment_names_a_manager_of_ones_own(ask: Ask) -> None:
    """`module:Class`, called without arguments."""
    target = "tests.unit.managers_of_ones_own:Quiet"
    assert ask(EVENTY_QUEUE_MANAGER=target).stdout == "Quiet True\n"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"EVENTY_QUEUE_MANAGER": "no_such_module:Manager"},
        {"EVENTY_QUEUE_MANAGER": "eventy_sync:Nothing"},
        {"EVENTY_QUEUE_MANAGER": "eventy_sync:FileEventQueue"},
        {"EVENTY_QUEUE_MANAGER": "eventy_sync"},
        {"EVENTY_QUEUE_MANAGER": ":"},
    ],
)
def test_an_environment_that_names_none_is_refused(ask: Ask, environment: dict[str, str]) -> None:
    """The error names the variables."""
    done = ask(**environment)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("eventy_sync.errors.InvalidArgumentError: ")
    assert "EVENTY_QUEUE_MANAGER" in last


@pytest.mark.parametrize("name", ["yaml", "", "JSON"])
def test_a_serializer_that_there_is_not_is_refused(ask: Ask, root: Path, name: str) -> None:
    """When a queue is registered, before anything is written."""
    done = ask(ASK + "; m.register(dict)", EVENTY_ROOT_DIR=str(root), EVENTY_SERIALIZER=name)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"eventy_sync.errors.InvalidArgumentError: there is no serializer {name!r}: use json,")
    assert not root.exists()


def test_a_directory_that_is_a_file_is_refused(ask: Ask, root: Path) -> None:
    """When the queues are opened; the file is left as it was."""
    root.write_text("mine")
    done = ask(ASK + "; m.register(dict); m.__enter__()", EVENTY_ROOT_DIR=str(root))
    assert done.stderr.splitlines()[-1].startswith("eventy_sync.errors.StorageError: ")
    assert root.read_text() == "mine"


def test_a_manager_of_ones_own_comes_before_a_directory(ask: Ask, root: Path) -> None:
    """With both in the environment, the class is taken."""
    target = "tests.unit.managers_of_ones_own:Quiet"
    assert ask(EVENTY_QUEUE_MANAGER=target, EVENTY_ROOT_DIR=str(root)).stdout == "Quiet True\n"


def test_a_type_that_cannot_be_stored_is_not_registered(root: Path) -> None:
    """And leaves the other queues alone."""
    with FileQueueManager(root) as manager:
        manager.register(Order)
        with pytest.raises(InvalidArgumentError, match="cannot be stored"):
            manager.register(complex)
        assert manager.get_queue_types() == [Order]
        assert manager.get_event_queue(Order).publish(Order(1)).id == 1


@pytest.mark.parametrize("target", [".relative:Manager", "eventy_sync:FileQueueManager", "eventy_sync:QueueManager"])
def test_a_manager_that_cannot_be_made_is_refused(ask: Ask, target: str) -> None:
    """A relative module, a class that needs arguments, an abstract one: the error names the variable."""
    last = ask(EVENTY_QUEUE_MANAGER=target).stderr.splitlines()[-1]
    assert last.startswith("eventy_sync.errors.InvalidArgumentError: ")
    assert "EVENTY_QUEUE_MANAGER" in last


def test_a_manager_that_cannot_open_all_its_queues_opens_none(root: Path) -> None:
    """Nobody could close those that were opened before the one that failed."""
    manager = FileQueueManager(root)
    manager.register(dict)
    manager.register(list)
    root.mkdir()
    (root / queue_name(list)).write_text("in the way")
    with pytest.raises(StorageError, match="not a directory"):
        manager.__enter__()
    with pytest.raises(QueueClosedError):
        manager.get_event_queue(dict).count_events()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (type("Größe", (), {}), type("Gräße", (), {})),
        (type("注文", (), {}), type("請求", (), {})),
        (Literal["a b"], Literal["a-b"]),
        (type("X" * 300 + "1", (), {}), type("X" * 300 + "2", (), {})),
    ],
)
def test_two_types_never_share_a_directory(one: object, other: object) -> None:
    """Whatever their names lose on the way to a file name."""
    assert queue_name(one) != queue_name(other)
