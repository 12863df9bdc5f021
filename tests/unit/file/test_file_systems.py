"""What a doctor makes of a file system: of what it is called, and of locks that do not exclude."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventy_sync.file import diagnosis
from eventy_sync.file.diagnosis import file_system
from eventy_sync.file.diagnosis.mounts import kind_of_file_system

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw - nfs4 host:/srv rw
31 30 0:41 / /srv/my\040disk rw - xfs /dev/sdb1 rw
32 22 0:42 / /srv/late rw - tmpfs none rw
33 22 0:43 / /srv/late rw - cifs //host/late rw
34 22 0:44 no separator
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/home/me", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/orders", "nfs4"),
        ("/srvother", "ext4"),
        ("/srv/my disk/orders", "xfs"),
        ("/srv/late", "cifs"),
    ],
)
def test_the_innermost_and_last_mount_counts(tmp_path: Path, place: str, kind: str) -> None:
    """As the kernel has it: a later mount hides an earlier one."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert kind_of_file_system(Path(place), mounts) == kind


def test_a_system_that_does_not_tell_is_not_guessed_about(tmp_path: Path) -> None:
    """None, and the doctor goes on."""
    assert kind_of_file_system(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(("kind", "level"), [("nfs4", "warning"), ("tmpfs", "warning"), ("ext4", "ok"), (None, "ok")])
def test_what_is_not_a_local_disk_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None, level: str
) -> None:
    """A network, or memory."""
    monkeypatch.setattr(file_system, "kind_of_file_system", lambda place: kind)
    (found,) = (each for each in diagnosis.look_at_file_system(tmp_path) if each.check == "kind")
    assert (found.level, bool(found.advice)) == (level, level == "warning")


def test_locks_that_do_not_exclude_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that says yes to everybody; the trial leaves nothing."""
    monkeypatch.setattr(file_system, "lock_descriptor", lambda fd, blocking: True)
    (found,) = (each for each in diagnosis.look_at_file_system(tmp_path) if each.check == "locks")
    assert (found.level, found.text) == ("error", "two descriptors had one lock at the same time")
    assert list(tmp_path.iterdir()) == []


def test_another_process_that_gets_a_lock_that_is_held_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process really tries: here on a file that nobody has locked."""
    free = tmp_path.parent / f"{tmp_path.name}-free"
    free.write_bytes(b"")
    really_try = file_system._try_in_another_process
    monkeypatch.setattr(file_system, "_try_in_another_process", lambda path: really_try(free))
    (found,) = (each for each in diagnosis.look_at_file_system(tmp_path) if each.check == "locks")
    assert (found.level, found.text) == ("error", "two processes had one lock at the same time")


def test_a_disk_that_is_slow_or_full_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With limits that every disk is beyond."""
    monkeypatch.setattr(file_system, "SLOW_SYNC_SECONDS", 0.0)
    monkeypatch.setattr(file_system, "_FEW_BYTES", 2**80)
    found = {each.check: each for each in diagnosis.look_at_file_system(tmp_path)}
    assert [found[each].level for each in ("fsync", "space")] == ["warning", "warning"]
    assert "publish_many" in found["fsync"].advice
    assert "eventy-sync gc" in found["space"].advice
