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
from neuralib.persistence._keeping.reading import opened
from neuralib.persistence._showing.previews import size_text
from neuralib.persistence._stores.base import Put
from neuralib.persistence._stores.moving import Copy, drafted, moved
from neuralib.persistence._stores.paths import PATHS, store_and_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    if store.local_folder() is not None:
        _refuse_holes(path, os.lstat(path))
    last = os.path.basename(target)
    with drafted(store) as draft, opened(PATHS, path) as source:
        PickleCodec().check(source)
        if compression is None:
            content = written(_content(source), draft)
        else:
            sink = CompressingSink(compression, compression.level if level is None else level, draft)
            content = written(_content(source), sink)
            sink.finish()

    def verify(taken: Exception | None) -> None:
        if taken is not None:
            raise taken
        try:
            if _sum_of(target) != content:
                raise CorruptResultError(target, "what was written is not what was read")
        except BaseException:
            store.delete(last)
            raise

    copy = Copy(name, before, store, Put(last, draft), verify)
    for _, problem in moved(store, [copy], keep=keep):
        if problem is not None:
            raise problem


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


def written(pieces: Iterable[bytes], target: Sink | None = None) -> tuple[int, int]:
    """Write *pieces* to *target*, if there is one; return their size in bytes and their checksum."""
    size = total = 0
    for piece in pieces:
        size, total = size + len(piece), checksum(piece, total)
        if target is not None:
            target.write(piece)
    return size, total


def _sum_of(path: str) -> tuple[int, int]:
    with opened(PATHS, path) as source:
        return written(_content(source))
