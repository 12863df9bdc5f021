"""Opening files so that nothing but a private, regular file of ours is ever read or written.

Files are made 0600 and directories 0700 whatever the umask; a symbolic link, FIFO, device or
directory where a file belongs is refused, without waiting on it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from eventy_sync.errors import StorageError

FILE_MODE, DIRECTORY_MODE = 0o600, 0o700
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: opening a FIFO must not hang


class storage_errors:  # no generator behind it: each read of a log passes here
    """Translate what the operating system refuses into one `StorageError` that names the path."""

    __slots__ = ("_doing", "_path")

    def __init__(self, doing: str, path: Path) -> None:
        self._doing, self._path = doing, path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(exc, OSError):
            raise StorageError(f"cannot {self._doing} {str(self._path)!r}: {exc.strerror or exc}") from exc


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """As `storage_errors`, but a file that is not there stays a FileNotFoundError: it may have been dropped."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise StorageError(f"cannot read {str(path)!r}: {exc.strerror or exc}") from exc


def open_file(path: Path, flags: int) -> int:
    """Open a regular file of ours and return its descriptor; with O_CREAT it is made if it is not there.

    Raises:
        FileNotFoundError: without O_CREAT, there is none.
        StorageError: it is not a regular file, or may not be opened.
    """
    try:
        fd = os.open(path, flags | _SAFE, FILE_MODE)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as exc:
        raise StorageError(f"cannot open {str(path)!r}: {_explain(path, exc)}") from exc
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise StorageError(f"cannot open {str(path)!r}: it is not a regular file; move it away")
    if flags & os.O_CREAT and stat.S_IMODE(status.st_mode) & ~FILE_MODE == 0 and status.st_size == 0:
        os.fchmod(fd, FILE_MODE)  # an umask may have taken our own rights away
    return fd


def _explain(path: Path, exc: OSError) -> str:
    if path.is_symlink():
        return "it is a symbolic link; a queue's files must be regular files"
    return exc.strerror or str(exc)


def make_directory(path: Path) -> None:
    """Make a private directory, its parents too, unless it is there.

    Raises:
        StorageError: something else has this name, or it may not be made.
    """
    if path.is_dir():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkdir(path, DIRECTORY_MODE)
        os.chmod(path, DIRECTORY_MODE)
        sync_directory(path.parent)
    except FileExistsError:
        if not path.is_dir():
            raise StorageError(f"{str(path)!r} is not a directory; name another root_dir or move it away") from None
    except OSError as exc:
        raise StorageError(f"cannot make the directory {str(path)!r}: {exc.strerror or exc}") from exc


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, durably, replacing one of the same name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors("write", path):
        fd = open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
        sync_directory(path.parent)


def write_all(fd: int, data: bytes) -> None:
    """Write all of this or raise OSError; a short write is followed up, so that its cause shows itself."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
