"""Mounts file systems for tests: one folder in two places by sshfs, and images of disks."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SFTP_SERVER = "/usr/lib/openssh/sftp-server"


def _lacking(tools: list[str]) -> str | None:
    """Return which of these programs are not installed, as a reason to skip a test; or None."""
    lacking = [
        tool for tool in tools if shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin") is None
    ]
    return f"not installed: {', '.join(lacking)}" if lacking else None


def why_no_sshfs() -> str | None:
    """Return why nothing can be mounted by sshfs here, or None."""
    if getattr(os, "geteuid", lambda: 1)() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    return _lacking(["sshfs", "socat", SFTP_SERVER, "fusermount3"])


@contextlib.contextmanager
def mounted_twice(work: Path, options: str) -> Iterator[tuple[Path, Path, Path]]:
    """Mount one folder in two places by sshfs over pipes, without a network; yield the folder and the two places."""
    back = work / "back"
    back.mkdir()
    places, processes = [work / "one", work / "two"], []
    try:
        for place in places:
            place.mkdir()
            chosen = options.replace(",", r"\,")  # socat takes a comma for the end of the command
            command = rf"EXEC:sshfs x\:{back} {place} -f -o passive -o {chosen}"
            processes.append(subprocess.Popen(["socat", command, f"EXEC:{SFTP_SERVER}"]))
            deadline = time.monotonic() + 20
            while not os.path.ismount(place):
                assert processes[-1].poll() is None, "sshfs did not start"
                assert time.monotonic() < deadline, "sshfs did not mount"
                time.sleep(0.01)
        yield back, places[0], places[1]
    finally:
        for place in places:
            if os.path.ismount(place):
                subprocess.run(["fusermount3", "-u", "-z", str(place)], check=False)
        for process in processes:
            process.terminate()
            process.wait()


# ------------------------------------------------------------------------------------------ disks

MAKERS = {
    # the least size in MiB, and the command that makes the file system
    "ext4": (48, ["mkfs.ext4", "-q", "-F"]),
    "xfs": (304, ["mkfs.xfs", "-q", "-f"]),
}


def why_no_disk(kind: str) -> str | None:
    """Return why no image of a disk with a file system of that *kind* can be mounted here, or None."""
    if getattr(os, "geteuid", lambda: 1)() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices"
    return _lacking(["losetup", "mount", "umount", "cp", MAKERS[kind][1][0]])


class Disk:
    """A disk image that is mounted without a cache: the image file holds exactly what a disk would hold.

    :param work: a folder on a disk, for the image and its copies
    :param kind: the kind of file system: a key of :data:`MAKERS`
    :param size_mib: the size of the disk; by default the smallest that can have this file system
    """

    def __init__(self, work: Path, kind: str, size_mib: int | None = None) -> None:
        self._work, self._copies = work, 0
        self._image = work / f"{kind}.image"
        least, maker = MAKERS[kind]
        with open(self._image, "wb") as file:
            file.truncate((size_mib or least) << 20)
        subprocess.run([*maker, str(self._image)], check=True, capture_output=True)
        self.root = work / "mounted"
        self.root.mkdir()
        self._loop = self._attached(self._image)
        subprocess.run(["mount", "-o", "noatime", self._loop, str(self.root)], check=True)

    def _attached(self, image: Path) -> str:
        command = ["losetup", "--direct-io=on", "--find", "--show", str(image)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    @contextlib.contextmanager
    def after_a_power_cut(self) -> Iterator[Path]:
        """Yield what would be there if the power failed now: a mounted copy of the image. Mounting recovers its journal."""
        self._copies += 1
        copy, place = self._work / f"copy{self._copies}.image", self._work / f"copy{self._copies}"
        subprocess.run(["cp", "--reflink=never", "--sparse=always", str(self._image), str(copy)], check=True)
        place.mkdir()
        loop = self._attached(copy)
        try:
            # XFS refuses to mount a second disk with the same UUID. A read-only mount would not recover the journal.
            options = "nouuid,noatime" if "xfs" in self._image.name else "noatime"
            subprocess.run(["mount", "-o", options, loop, str(place)], check=True)
            try:
                yield place
            finally:
                subprocess.run(["umount", str(place)], check=True)
        finally:
            subprocess.run(["losetup", "-d", loop], check=True)
            copy.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.root)], check=True)
        subprocess.run(["losetup", "-d", self._loop], check=True)
