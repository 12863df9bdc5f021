"""The state store's file: private, ours, and shared by threads, processes and forks."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from eventy_sync import QueueClosedError, QueueFormatError, StorageError
from eventy_sync.storage.state import StateStore

ANN = UUID(int=1)
REPOSITORY = Path(__file__).resolve().parents[4]


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """The database and what SQLite puts beside it."""
    before = os.umask(0)
    try:
        store = StateStore(tmp_path / "state.db")
        store.claims.create("x", ANN, None, 10)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def make_symlink(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes(b"")
    path.symlink_to(path.parent / "elsewhere")


def make_later(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (make_symlink, "symbolic link"),
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "not a regular file|directory"),
        (lambda path: path.write_bytes(b"no database at all, " * 100), "move it away"),
        (make_later, "upgrade eventy-sync"),
    ],
    ids=["symlink", "fifo", "directory", "text", "later"],
)
def test_what_is_no_database_of_ours_is_refused(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    """At once, with one error that says what is there; nothing is changed."""
    path = tmp_path / "state.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    store = StateStore(path)
    with pytest.raises(StorageError, match=says):
        store.claims.count()
    store.close()
    assert (path.read_bytes() if path.is_file() else None) == before
    if says == "upgrade eventy-sync":
        with pytest.raises(QueueFormatError):
            StateStore(path).claims.count()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """Also when it was never used; closing twice does no harm."""
    store = StateStore(tmp_path / "state.db")
    store.close()
    store.close()
    with pytest.raises(QueueClosedError, match="with queue"):
        store.results.count()
    assert not (tmp_path / "state.db").exists()


def test_threads_share_a_store(tmp_path: Path) -> None:
    """Eight of them race for claims: each has one holder, no token comes twice."""
    store = StateStore(tmp_path / "state.db")
    tokens: list[int] = []

    def race(worker: int) -> None:
        for name in range(50):
            claim = store.claims.create(str(name), UUID(int=worker), None, 100)
            if claim is not None:
                tokens.append(claim.token)

    threads = [threading.Thread(target=race, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert sorted(tokens) == list(range(1, 51))


def test_two_stores_of_one_process_do_not_break_each_others_locks(tmp_path: Path) -> None:
    """What one writes after another was opened is not lost when a third, elsewhere, is the last to close."""
    first = StateStore(tmp_path / "state.db")
    first.remembered.put("a", b"1")
    second = StateStore(tmp_path / "state.db")
    second.remembered.get("a")

    def elsewhere(name: str) -> bytes | None:
        source = (
            "import sys; from pathlib import Path; from eventy_sync.storage.state import StateStore\n"
            "store = StateStore(Path(sys.argv[1])); print((store.remembered.get(sys.argv[2]) or b'').decode())\n"
            "store.remembered.put('elsewhere', b'1'); store.close()"
        )
        command = [sys.executable, "-c", source, str(tmp_path / "state.db"), name]
        return subprocess.run(command, capture_output=True, check=True, cwd=REPOSITORY).stdout.strip()

    assert elsewhere("a") == b"1"
    first.remembered.put("b", b"2")
    assert elsewhere("b") == b"2"
    first.close()
    second.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    """And the store goes on."""
    store = StateStore(tmp_path / "state.db")

    def fail_half_way() -> None:
        with store._connection.transaction() as database:
            database.execute("INSERT INTO remembered VALUES ('a', x'00')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert store.remembered.get("a") is None
    store.remembered.put("a", b"1")
    assert store.remembered.get("a") == b"1"
    store.close()
