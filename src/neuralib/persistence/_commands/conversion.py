"""Result files from one compression to another, or to none: the same content, byte for byte, and no object is made.

So no class is needed, nothing runs, and what is loaded afterwards is the same to the bit.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from neuralib.persistence._bytes.checksums import checksum
from neuralib.persistence._codecs.compression import CompressingSink, content_parts, pieces_of
from neuralib.persistence._codecs.pickles import PickleCodec, compression_of
from neuralib.persistence._commands.content import opened
from neuralib.persistence._errors import CorruptResultError
from neuralib.persistence._stores.folder import FolderStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuralib.persistence._bytes.sources import Sink, Source
    from neuralib.persistence._codecs.compression import Compression


def convert_file(
    path: str, target: str, *, compression: Compression | None, level: int | None = None, keep: bool = False
) -> None:
    """Write the content of the file *path* into the new file *target*, and remove *path* when that is known to be the same.

    The time of the last change and the permissions stay. A failure leaves *path* as it was, and nothing under *target*.

    :param compression: of *target*; None for a plain file
    :param level: of the compression
    :param keep: leave *path* there
    :raises FileExistsError: *target* is there already
    :raises CorruptResultError: *path* is damaged
    """
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is a link or no file: convert the file that it leads to", path)
    folder, name = os.path.split(target)
    draft = FolderStore(folder).draft(durable=True)
    try:
        with opened(path) as source:
            PickleCodec().check(source)
            before = _copied(source, draft, compression, level)
        # Before it has a name: somebody else's link may have that by the time it could be changed by its path.
        draft.set_status(status.st_mode, (status.st_atime_ns, status.st_mtime_ns))
        draft.publish_new(name)
    finally:
        draft.discard()
    try:
        if _sum_of(target) != before:
            raise CorruptResultError(target, "what was written is not what was read")
    except BaseException:
        os.unlink(target)
        raise
    if not keep:
        if _identity(os.lstat(path)) != _identity(status):
            raise OSError(errno.EBUSY, f"was replaced meanwhile, and stays beside {target}", path)
        os.unlink(path)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _content(source: Source) -> Iterator[bytes]:
    """Yield the content of *source*, decompressed."""
    compression = compression_of(source.read_at(4, 0))
    pieces = pieces_of(source)
    return pieces if compression is None else content_parts(compression, pieces)


def _copied(source: Source, target: Sink, compression: Compression | None, level: int | None) -> tuple[int, int]:
    """Write the content of *source* to *target*; return its size in bytes and its checksum."""
    sink = None
    if compression is not None:
        sink = CompressingSink(compression, compression.level if level is None else level, target)
    size = total = 0
    for piece in _content(source):
        size, total = size + len(piece), checksum(piece, total)
        (target if sink is None else sink).write(piece)
    if sink is not None:
        sink.finish()
    return size, total


def _sum_of(path: str) -> tuple[int, int]:
    size = total = 0
    with opened(path) as source:
        for piece in _content(source):
            size, total = size + len(piece), checksum(piece, total)
    return size, total
