"""A state store of an earlier version is brought up to date when it is opened, and loses nothing.

What is written here is what version 1 wrote; it is not to be made of today's statements.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest

from eventy_sync.errors import QueueFormatError, StorageError
from eventy_sync.models import Claim, EventResult
from eventy_sync.storage.state import StateStore, StoredSubscription, make_runs
from eventy_sync.storage.state.schema import STEPS, VERSION

VERSION_1 = """
    CREATE TABLE results (
        id BLOB PRIMARY KEY, event_id INTEGER NOT NULL, worker_id BLOB NOT NULL, success INTEGER NOT NULL,
        details TEXT, created_at INTEGER NOT NULL, subscription_id BLOB, group_name TEXT, attempt INTEGER NOT NULL,
        token INTEGER, duration_seconds REAL NOT NULL, stale INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX results_by_event ON results (event_id);
    CREATE INDEX results_by_worker ON results (worker_id);
    CREATE TABLE claims (
        id TEXT PRIMARY KEY, worker_id BLOB NOT NULL, token INTEGER NOT NULL, data TEXT NOT NULL,
        created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        boot_id TEXT NOT NULL, created_boot REAL NOT NULL, expires_boot REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE subscriptions (
        id BLOB PRIMARY KEY, type_name TEXT NOT NULL, body BLOB NOT NULL, from_index INTEGER NOT NULL,
        explicit_start INTEGER NOT NULL, created_at INTEGER NOT NULL, worker_id BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE remembered (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO counters VALUES ('results', 0), ('token', 0), ('subscriptions_version', 0);
    PRAGMA user_version = 1;
"""
OUTBOX = "CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body BLOB NOT NULL);"
KEY, SUBSCRIPTION, ANN = (UUID(int=number) for number in (7, 8, 1))
AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
MICROSECONDS = int(AT.timestamp()) * 1_000_000
FAR = datetime(2999, 1, 1, tzinfo=timezone.utc)
RESULT = EventResult(KEY, 3, ANN, True, "fine", AT, SUBSCRIPTION, "group", 2, 5, 0.25, False)
STORED = StoredSubscription(SUBSCRIPTION, "a.B", b"{}", 4, True, AT, ANN)
CLAIM = Claim("x", ANN, AT, {"n": 1}, 5, FAR)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of version 1, with a row in each table."""
    path = tmp_path / "state.db"
    database = sqlite3.connect(path)
    database.executescript(f"PRAGMA journal_mode = WAL; {VERSION_1}")
    row = (KEY.bytes, 3, ANN.bytes, 1, "fine", MICROSECONDS, SUBSCRIPTION.bytes, "group", 2, 5, 0.25, 0)
    database.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    times = (MICROSECONDS, int(FAR.timestamp()) * 1_000_000)
    claim = ("x", ANN.bytes, 5, '{"n":1}', *times, "an earlier boot", 1.0, 2.0)
    database.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", claim)
    stored = (SUBSCRIPTION.bytes, "a.B", b"{}", 4, 1, MICROSECONDS, ANN.bytes)
    database.execute("INSERT INTO subscriptions VALUES (?, ?, ?, ?, ?, ?, ?)", stored)
    database.execute("INSERT INTO remembered VALUES ('roots', x'7b7d')")
    for name, value in (("results", 1), ("token", 5), ("subscriptions_version", 9)):
        database.execute("UPDATE counters SET value = ? WHERE name = ?", (value, name))
    database.commit()
    database.close()
    return path


def execute(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Return what SQLite says, asked past the store."""
    database = sqlite3.connect(path)
    try:
        return database.execute(statement).fetchall()
    finally:
        database.close()


def check_rows(store: StateStore) -> None:
    """Everything of version 1 is there."""
    assert store.results.search().items == [RESULT]
    assert store.results.count() == 1
    assert store.claims.get("x") == CLAIM
    assert store.claims.last_token() == 5
    assert store.subscriptions.all() == [STORED]
    assert store.subscriptions.version() == 9
    assert store.remembered.get("roots") == b"{}"


def test_the_rows_of_version_1_are_there(path: Path) -> None:
    """All of them, as they were; and the file is of this version from then on."""
    store = StateStore(path)
    check_rows(store)
    store.close()
    assert execute(path, "PRAGMA user_version") == [(VERSION,)]
    again = StateStore(path)
    check_rows(again)
    again.close()


@pytest.mark.parametrize("before", ["", OUTBOX])
def test_the_new_tables_serve(path: Path, before: str) -> None:
    """Also where a version between the two had made one of them already."""
    if before:
        execute(path, before)
    store = StateStore(path, tells_others=True)
    store.subscriptions.remove(SUBSCRIPTION)
    (change,) = store.outbox.first(10)
    assert change.kind == "unsubscribed"
    assert store.subscriptions.changes() == [(change.kind, change.body)]
    assert store.claims.create("y", ANN, None, 10).token == 6  # type: ignore[union-attr]
    store.results.add([], make_runs(4, [MICROSECONDS] * 3, [1] * 3, worker_id=ANN, group="group"))
    assert [each.event_id for each in store.results.search(group__eq="group").items] == [3, 4, 5, 6]
    store.close()


def test_the_rows_of_version_2_are_there(path: Path) -> None:
    """A file that only lacks what version 3 has gets that, and its failures are found."""
    execute(path, OUTBOX)
    execute(path, "CREATE TABLE removed_subscriptions (id BLOB PRIMARY KEY) WITHOUT ROWID")
    database = sqlite3.connect(path)
    database.execute("UPDATE results SET success = 0")
    database.execute("PRAGMA user_version = 2")
    database.commit()
    database.close()
    store = StateStore(path)
    failed = replace(RESULT, success=False)
    assert store.results.search(success__eq=False).items == [failed]
    assert store.results.search(group__eq="group").items == [failed]
    assert store.results.count(success__eq=True) == 0
    store.close()
    assert execute(path, "PRAGMA user_version") == [(VERSION,)]


def test_an_upgraded_file_is_as_a_new_one(path: Path, tmp_path: Path) -> None:
    """The same tables and indexes, by whatever way."""
    for each in (path, tmp_path / "new.db"):
        store = StateStore(each)
        store.results.count()
        store.close()
    statement = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    plain = [[tuple(str(value).split()) for value in row] for row in execute(path, statement)]
    assert plain == [[tuple(str(value).split()) for value in row] for row in execute(tmp_path / "new.db", statement)]


def test_several_upgrade_it_at_once(path: Path) -> None:
    """One of them does, and the others find it done."""
    stores = [StateStore(path) for _ in range(8)]
    begin = threading.Barrier(len(stores))
    found: list[int] = []

    def use(store: StateStore) -> None:
        begin.wait(20)
        found.append(store.results.count())

    threads = [threading.Thread(target=use, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * len(stores)
    check_rows(stores[0])
    for store in stores:
        store.close()


def test_an_upgrade_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is all done or not at all, and tried again by whoever comes next."""
    steps = (STEPS[0], (*STEPS[1], "CREATE TABLE results (x)"), *STEPS[2:])
    with monkeypatch.context() as patched:
        patched.setattr("eventy_sync.storage.state.schema.STEPS", steps)
        store = StateStore(path)
        with pytest.raises(StorageError, match="results already exists"):
            store.results.count()
        store.close()
    assert execute(path, "PRAGMA user_version") == [(1,)]
    assert execute(path, "SELECT name FROM sqlite_master WHERE name = 'removed_subscriptions'") == []
    store = StateStore(path)
    check_rows(store)
    store.close()


def test_a_version_to_come_is_left_as_it_is(path: Path) -> None:
    """Neither read nor changed."""
    execute(path, f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    store = StateStore(path)
    with pytest.raises(QueueFormatError, match=f"says version {VERSION + 1}"):
        store.results.count()
    store.close()
    assert path.read_bytes() == before


def test_a_claim_of_before_ends_by_the_wall_clock(path: Path) -> None:
    """After a reboot nothing else can tell, so it is held until then."""
    past = int((datetime.now(timezone.utc) - timedelta(seconds=1)).timestamp()) * 1_000_000
    database = sqlite3.connect(path)
    database.execute("UPDATE claims SET expires_at = ?", (past,))
    database.commit()
    database.close()
    store = StateStore(path)
    assert store.claims.create("x", UUID(int=2), None, 10).token == 6  # type: ignore[union-attr]
    store.close()


def test_failures_of_an_earlier_version_are_counted(path: Path) -> None:
    """The totals begin with what is there."""
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE results SET success = 0")
    database.close()
    store = StateStore(path)
    assert store.results.totals() == (0, 1)
    store.close()
