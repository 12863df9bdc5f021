"""Opening and writing files of ours, and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from eventy_sync import StorageError
from eventy_sync.storage.files import make_directory, open_file, write_whole


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Not more open, and not closed to ourselves."""
    before = os.umask(umask)
    try:
        os.close(open_file(tmp_path / "file", os.O_RDWR | os.O_CREAT))
        make_directory(tmp_path / "directory")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "directory").stat().st_mode) == 0o700


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT])
@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("elsewhere"), lambda path: path.symlink_to("/dev/null")]
)
def test_only_regular_files_are_opened(tmp_path: Path, make: Callable[[Path], None], flags: int) -> None:
    """Nothing hangs, nothing is followed."""
    make(tmp_path / "x")
    with pytest.raises(StorageError, match="cannot open"):
        open_file(tmp_path / "x", flags)
    assert not (tmp_path / "elsewhere").exists()


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    """A program that is started does not get them."""
    fd = open_file(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_directory_where_a_file_is_is_refused(tmp_path: Path) -> None:
    """As its own path and as a part of one."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match=str(tmp_path / "file")):
            make_directory(path)


def test_a_whole_write_replaces_or_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves what was there."""
    path = tmp_path / "file"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"

    def refuse(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="No space left"):
        write_whole(path, b"three")
    assert path.read_bytes() == b"two"
