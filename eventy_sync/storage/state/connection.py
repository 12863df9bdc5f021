"""One SQLite connection for each open queue, opened when it is first needed and shared by all threads.

Invariants: nobody touches SQLite without the lock; every write is one ``BEGIN IMMEDIATE`` transaction;
the child of a fork never uses nor closes its parent's connection; nothing but SQLite closes a descriptor
of the file while a connection to it is open, because that drops the locks of the whole process.
"""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventy_sync.errors import QueueClosedError, QueueFormatError, StorageError
from eventy_sync.storage.files import open_file
from eventy_sync.storage.state import schema

logger = logging.getLogger(__name__)

BUSY_TIMEOUT_SECONDS = 30.0
FORK_TIMEOUT_SECONDS = 5.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.0001, 0.002
_BUSY_PAUSE_SECONDS = 0.005

_opening = threading.Lock()
"""Held while any file is made and opened, so that a descriptor is closed before SQLite takes its locks."""

_inherited: list[sqlite3.Connection] = []
"""A parent's connections, kept in the child so that they are never closed there: that would harm the file."""


class Connection:
    """Runs statements on one database file.  Thread safe."""

    def __init__(self, path: Path, *, sync_every_commit: bool) -> None:
        self.path = path
        self._sync_every_commit = sync_every_commit
        self._lock = threading.RLock()
        # guarded by _lock
        self._database: sqlite3.Connection | None = None
        self._is_closed = False
        self._fork_lock_held = False

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one query.

        Raises:
            StorageError: SQLite refused.
        """
        with self._locked() as database:
            return database.execute(statement, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run what is inside as one write, alone among all processes: all of it is kept or nothing.  Not nestable.

        Raises:
            StorageError: SQLite refused.
        """
        with self._locked() as database:
            _begin(database)
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        """Hold the lock and translate SQLite's errors: the one place where they cross into ours."""
        with self._lock:
            try:
                yield self._open_locked()
            except sqlite3.Error as exc:
                raise self._translated(exc) from exc

    def _translated(self, exc: sqlite3.Error) -> StorageError:
        if (isinstance(exc, sqlite3.DatabaseError) and "not a database" in str(exc)) or "malformed" in str(exc):
            return StorageError(
                f"{str(self.path)!r} is damaged ({exc}): close the queue and move it away; "
                "results, claims and subscriptions in it are lost, events are not"
            )
        return StorageError(f"cannot use {str(self.path)!r}: {exc}")

    def _open_locked(self) -> sqlite3.Connection:
        if self._is_closed:
            raise QueueClosedError("the queue is closed: use it inside `with queue:`")
        if self._database is None:
            self._database = self._connect()
        elif self._database.in_transaction:  # an exception from a signal's handler has cut it short
            self._database.execute("ROLLBACK")
        return self._database

    def _connect(self) -> sqlite3.Connection:
        with _opening:
            _make_private_file(self.path)
            database = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?nofollow=1",
                uri=True,
                timeout=BUSY_TIMEOUT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            self._version(database)  # a later one is left as it is
            _use_wal(database)
            database.execute(f"PRAGMA synchronous = {'FULL' if self._sync_every_commit else 'NORMAL'}")
            self._make_schema(database)
        except BaseException:
            database.close()
            raise
        return database

    def _make_schema(self, database: sqlite3.Connection) -> None:
        """Make the tables that are not there yet; one of several processes does it."""
        if self._version(database) == schema.VERSION:
            return
        database.execute("BEGIN IMMEDIATE")
        for step in schema.STEPS[self._version(database) :]:
            for statement in step:
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {schema.VERSION}")
        database.execute("COMMIT")

    def _version(self, database: sqlite3.Connection) -> int:
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version > schema.VERSION:
            raise QueueFormatError(
                f"{str(self.path)!r} says version {version}; this one knows {schema.VERSION}: upgrade eventy-sync"
            )
        return version

    def close(self) -> None:
        """Close the file; using it afterwards raises QueueClosedError.  May be called twice."""
        with self._lock:
            self._is_closed = True
            if self._database is not None:
                self._database.close()
                self._database = None

    # -- forks: SQLite's own locks must not be held by another thread while the process forks ---------------------

    def before_fork(self) -> None:
        """Wait until no thread is inside SQLite, for a bounded time."""
        self._fork_lock_held = self._lock.acquire(timeout=FORK_TIMEOUT_SECONDS)
        if not self._fork_lock_held:
            logger.warning("forking while the state store is busy: path=%s", self.path)

    def after_fork_in_parent(self) -> None:
        """Go on as before."""
        if self._fork_lock_held:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Forget the parent's connection."""
        self._lock = threading.RLock()
        if self._database is not None:
            _inherited.append(self._database)
            self._database = None


def _begin(database: sqlite3.Connection) -> None:
    """Begin to write, waiting for others who do; SQLite itself would sleep for longer than they take.

    It sleeps a millisecond at first and up to a tenth of a second later on, a transaction takes a tenth of a
    millisecond: with several busy processes that leaves processors idle.
    """
    deadline, pause_seconds = 0.0, FIRST_WAIT_SECONDS
    while True:
        try:
            database.execute("PRAGMA busy_timeout = 0")
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            now = time.monotonic()
            deadline = deadline or now + BUSY_TIMEOUT_SECONDS
            if "locked" not in str(exc) or now > deadline:
                raise
        else:
            return
        finally:
            database.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
        time.sleep(pause_seconds * random.uniform(0.5, 1.0))
        pause_seconds = min(pause_seconds * 2, LONGEST_WAIT_SECONDS)


def _make_private_file(path: Path) -> None:
    """Make an empty file unless there is a regular one; SQLite gives its other files the same mode."""
    try:
        os.close(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            os.close(open_file(path, os.O_RDONLY))  # raises, and says what is there instead


def _use_wal(database: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; SQLite does not wait by itself for others who do the same at this moment."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    pause = threading.Event()
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
        pause.wait(_BUSY_PAUSE_SECONDS)
