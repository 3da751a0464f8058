"""Result files from one compression to another, or to none: the same content, byte for byte, and no object is made.

So no class is needed, nothing runs, and what is loaded afterwards is the same to the bit.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from neuralib.persistence._bytes.checksums import checksum
from neuralib.persistence._codecs.compression import CompressingSink, content_parts, pieces_of
from neuralib.persistence._codecs.pickles import PickleCodec, compression_of
from neuralib.persistence._errors import CorruptResultError
from neuralib.persistence._handlers.heads import opened
from neuralib.persistence._showing.previews import size_text
from neuralib.persistence._stores.base import Put
from neuralib.persistence._stores.paths import PATHS, store_and_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuralib.persistence._bytes.sources import Sink, Source
    from neuralib.persistence._codecs.compression import Compression

_LARGE = 1 << 32
_MOST_PER_BYTE = 1000
"""Bytes of a sparse file for each that is on the disk: the zeros of more would be converted for hours."""


def convert_file(
    path: str, target: str, *, compression: Compression | None, level: int | None = None, keep: bool = False
) -> None:
    """Write the content of the file *path* into the new file *target*, and remove *path* when that is known to be the same.

    *target* is in the same folder, archive or bucket. The time of the last change and the permissions stay. A failure leaves *path* as it was, and nothing under *target*.

    :param compression: of *target*; None for a plain file
    :param level: of the compression
    :param keep: leave *path* there
    :raises FileExistsError: *target* is there already
    :raises CorruptResultError: *path* is damaged
    """
    store, name = store_and_name(path)
    before = store.stat(name)
    if not before.regular:
        raise OSError(errno.EINVAL, "is a link or no file: convert the file that it leads to", path)
    status = None if store.local_folder() is None else os.lstat(path)
    if status is not None:
        _refuse_holes(path, status)
    last = os.path.basename(target)
    draft = store.draft()
    try:
        with opened(PATHS, path) as source:
            PickleCodec().check(source)
            content = _copied(source, draft, compression, level)
        if status is not None:
            # Before it has a name: somebody else's link may have that by the time it could be changed by its path.
            draft.set_status(status.st_mode, (status.st_atime_ns, status.st_mtime_ns))
            store.put(last, draft, durable=True)
        else:
            put = Put(last, draft, time_ns=int(before.time_modified_s * 1e9))
            for taken in store.put_many([put], durable=True):
                if taken is not None:
                    raise taken
    finally:
        draft.discard()
    try:
        if _sum_of(target) != content:
            raise CorruptResultError(target, "what was written is not what was read")
    except BaseException:
        store.delete(last)
        raise
    if not keep:
        if store.stat(name).version != before.version:
            raise OSError(errno.EBUSY, f"was replaced meanwhile, and stays beside {target}", path)
        store.delete(name)


def _refuse_holes(path: str, status: os.stat_result) -> None:
    on_disk = getattr(status, "st_blocks", status.st_size) * 512
    if status.st_size > _LARGE and status.st_size > on_disk * _MOST_PER_BYTE:
        problem = (
            f"only {size_text(on_disk)} of its {size_text(status.st_size)} are on the disk: copy what you need of it"
        )
        raise OSError(errno.EFBIG, problem, path)


def _content(source: Source) -> Iterator[bytes]:
    """Yield the content of *source*, decompressed."""
    compression = compression_of(source.read_at(4, 0))
    pieces = pieces_of(source)
    return pieces if compression is None else content_parts(compression, pieces)


def _copied(source: Source, target: Sink | None, compression: Compression | None, level: int | None) -> tuple[int, int]:
    """Write the content of *source* to *target*, if there is one; return its size in bytes and its checksum."""
    sink = None
    if compression is not None and target is not None:
        target = sink = CompressingSink(compression, compression.level if level is None else level, target)
    size = total = 0
    for piece in _content(source):
        size, total = size + len(piece), checksum(piece, total)
        if target is not None:
            target.write(piece)
    if sink is not None:
        sink.finish()
    return size, total


def _sum_of(path: str) -> tuple[int, int]:
    with opened(PATHS, path) as source:
        return _copied(source, None, None, None)
