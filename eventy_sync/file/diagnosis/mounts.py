"""What kind of file system a directory is on, as far as the system tells."""

from __future__ import annotations

import os
import re
from pathlib import Path

NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs",
    "fuse.s3fs", "fuse.rclone", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "virtiofs", "vboxsf",
}  # fmt: skip
MEMORY = {"tmpfs", "ramfs"}
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")


def kind_of_file_system(place: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind, such as "ext4", or None where the system does not tell.

    `mounts` is a file such as Linux' ``/proc/self/mountinfo``, where a later mount hides an earlier one.
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    path = os.path.realpath(place)
    kind, longest = None, -1
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= longest:
            kind, longest = after.split()[0], len(point)
    return kind
