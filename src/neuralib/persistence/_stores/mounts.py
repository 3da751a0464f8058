"""Which file system a folder is on: databases in one file need locks and shared memory, which networks don't keep."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NETWORKS = re.compile(
    r"9p|afs|beegfs|ceph|cifs|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs[34]?|ocfs2|orangefs|panfs|pvfs2|smb[23]?|smbfs|vboxsf|webdav"
    r"|wekafs|afpfs"
    r"|fuse\.(beegfs|ceph(-fuse)?|curlftpfs|davfs2|gcsfuse|glusterfs|gvfsd-fuse|juicefs|mfs|rclone|s3fs|smbnetfs|sshfs|vmhgfs-fuse)"
)
_DRIVE_REMOTE = 4  # of GetDriveTypeW


def network_file_system(folder: str) -> str | None:
    """Return the name of the network file system that *folder* is on; None where the disk is local, or it can't be told.

    :param folder: an absolute path; its parents are asked where it is not there yet
    """
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    folder = os.path.realpath(folder)
    try:
        if sys.platform == "linux":
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                kind = kind_in_mountinfo(file.read(), folder)
        elif sys.platform == "win32":
            return _of_windows_drive(folder)
        else:
            kind = kind_in_mount_output(_output_of_mount(), folder)
    except OSError:
        return None
    return kind if kind is not None and _NETWORKS.fullmatch(kind) else None


def kind_in_mountinfo(text: str, folder: str) -> str | None:
    """Return the kind of file system of *folder*, from the *text* of Linux's ``/proc/self/mountinfo``."""
    lines = (line.partition(" - ") for line in text.splitlines())
    return _kind_at(folder, ((_unescaped(before.split(" ")[4]), after.split(" ", 1)[0]) for before, _, after in lines))


def kind_in_mount_output(text: str, folder: str) -> str | None:
    """Return the same from the output of ``mount``, as macOS and BSD write it: ``host:/lab on /Volumes/lab (nfs, …)``."""
    lines = (line.partition(" on ")[2].rpartition(" (") for line in text.splitlines())
    return _kind_at(folder, ((place, about.partition(",")[0].rstrip(")")) for place, _, about in lines if place))


def _kind_at(folder: str, mounted: Iterable[tuple[str, str]]) -> str | None:
    """Return the kind of the innermost of the *mounted* places, each with its kind, that *folder* is in."""
    found, longest = None, -1
    for place, kind in mounted:
        is_inside = place in {"/", folder} or folder.startswith(f"{place}/")
        if is_inside and len(place) >= longest:  # of two at one place, the later hides the earlier
            found, longest = kind, len(place)
    return found


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _output_of_mount() -> str:
    import subprocess

    return subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False).stdout


def _of_windows_drive(folder: str) -> str | None:
    import ctypes

    drive = os.path.splitdrive(folder)[0]
    windows = ctypes.windll  # type: ignore[attr-defined,unused-ignore]
    is_remote = drive.startswith("\\\\") or windows.kernel32.GetDriveTypeW(f"{drive}\\") == _DRIVE_REMOTE
    return "a network drive" if is_remote else None
