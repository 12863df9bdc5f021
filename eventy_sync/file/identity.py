"""Who a root is: ``queue.json``, written when the root is made, and once more when it joins other roots.

::

    {"format": 1, "queue_id": uuid, "root_id": uuid, "created_at": time, "joined": {"name": text, "prefix": text}}

All copies of one queue share the `queue_id`; the `root_id` is this directory's own.  `joined` is there once the
root's events are numbered in common with other roots: from then on nobody may number them here alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from eventy_sync.errors import QueueFormatError
from eventy_sync.storage.files import (
    make_directory,
    open_file,
    read_errors,
    storage_errors,
    sync_directory,
    write_all,
    write_whole,
)

FORMAT = 1
IDENTITY_FILE = "queue.json"
STATE_FILE = "state.db"
_OURS = {IDENTITY_FILE, ".lock", "events", STATE_FILE, f"{STATE_FILE}-wal", f"{STATE_FILE}-shm"}
_MAX_BYTES = 65_536


class SharedName(msgspec.Struct, frozen=True):
    """What all roots of one queue call it where they meet: the queue's name, and the first part of its keys."""

    name: str
    prefix: str


class QueueIdentity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ``queue.json`` says."""

    format: int
    queue_id: UUID
    root_id: UUID
    created_at: datetime
    joined: SharedName | None = None


def open_root(root: Path) -> QueueIdentity:
    """Return the identity of this root, making the root if it is not there or empty.

    Raises:
        QueueFormatError: it is of a later format, or a directory of something else.
        StorageError: it cannot be made or read.
    """
    make_directory(root)
    with storage_errors("list", root):
        names = set(os.listdir(root))
    if IDENTITY_FILE not in names:
        foreign = sorted(name for name in names - _OURS if not name.startswith(f".{IDENTITY_FILE}."))
        if foreign:
            raise QueueFormatError(
                f"{str(root)!r} is not a queue: it holds {foreign[0]!r}; name a new or empty directory as root_dir"
            )
        _create(root)
    return read_identity(root)


def adopt(root: Path, queue_id: UUID) -> QueueIdentity:
    """Make an empty root a copy of this queue, and return its identity.

    Raises:
        StorageError: it cannot be written.
    """
    identity = msgspec.structs.replace(read_identity(root), queue_id=queue_id)
    write_whole(root / IDENTITY_FILE, msgspec.json.encode(identity) + b"\n")
    return identity


def mark_joined(root: Path, shared_name: SharedName) -> QueueIdentity:
    """Remember under which name this root has joined others, and return its identity; call it under the append lock.

    Raises:
        StorageError: it cannot be written.
    """
    identity = msgspec.structs.replace(read_identity(root), joined=shared_name)
    write_whole(root / IDENTITY_FILE, msgspec.json.encode(identity) + b"\n")
    return identity


def read_identity(root: Path) -> QueueIdentity:
    """Return the identity of an existing root.

    Raises:
        QueueFormatError: there is no queue, or one of a later format.
        StorageError: it cannot be read.
    """
    path = root / IDENTITY_FILE
    try:
        with read_errors(path):
            fd = open_file(path, os.O_RDONLY)
            try:
                text = os.read(fd, _MAX_BYTES)
            finally:
                os.close(fd)
    except FileNotFoundError:
        raise QueueFormatError(f"{str(root)!r} is not a queue: it has no {IDENTITY_FILE}") from None
    return _parse(path, text)


def _parse(path: Path, text: bytes) -> QueueIdentity:
    try:
        found = msgspec.json.decode(text, type=dict)
        if isinstance(found.get("format"), int) and found["format"] > FORMAT:
            raise QueueFormatError(
                f"{str(path)!r} says format {found['format']}; this version knows {FORMAT}: upgrade eventy-sync"
            )
        return msgspec.convert(found, QueueIdentity)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise QueueFormatError(f"{str(path)!r} is damaged ({exc}); restore it from a backup") from exc


def _create(root: Path) -> None:
    """Write a new identity, unless another process is first."""
    identity = QueueIdentity(FORMAT, uuid4(), uuid4(), datetime.now(timezone.utc))
    path, temporary = root / IDENTITY_FILE, root / f".{IDENTITY_FILE}.{uuid4().hex}.tmp"
    with storage_errors("write", path):
        fd = open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_all(fd, msgspec.json.encode(identity) + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        with suppress(FileExistsError):
            os.link(temporary, path)
        os.unlink(temporary)
        sync_directory(root)
