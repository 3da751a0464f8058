"""Result files from plain to compressed and back: the same pickle, byte for byte, and no object is made.

So no class is needed, nothing runs, and what is loaded afterwards is the same to the bit.
"""

from __future__ import annotations

import errno
import itertools
import os
import pickle
from typing import TYPE_CHECKING, NamedTuple

from neuralib.persistence._codecs import framed_reader, frames, layout
from neuralib.persistence._codecs.reading import FAILURES, opened, raise_explained, refuse_special_file
from neuralib.persistence._errors import CorruptResultError
from neuralib.persistence._handlers.pickles import DEFAULT_LEVEL, GZIP_MAGIC, Compressor, decompressed_parts, parts_of
from neuralib.persistence._stores.folder import FolderStore
from neuralib.persistence._trust.instructions import Memory
from neuralib.persistence._trust.outline import arrays_in

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Section(NamedTuple):
    """A part of a pickle: some bytes, or the memory of a large array, which may be aligned in a file."""

    data: memoryview
    is_array: bool


def convert_file(path: str, target: str, *, compress: bool, level: int | None = None, keep: bool = False) -> None:
    """Write the result in the file *path* into the new file *target*, and remove *path* when that is known to be the same.

    The time of the last change and the permissions stay. A failure leaves *path* as it was, and nothing under *target*.

    :param compress: whether *target* is to be a gzip file, or a plain one
    :param level: of the compression, from 0 to 9
    :param keep: leave *path* there
    :raises FileExistsError: *target* is there already
    :raises CorruptResultError: *path* is damaged
    """
    if os.path.islink(path):
        raise OSError(errno.EINVAL, "is a link: convert the file that it leads to", path)
    status = os.stat(path)
    sections = _sections_of(path)
    folder, name = os.path.split(target)
    draft = FolderStore(folder).draft(durable=True)
    try:
        if compress:
            compressor = Compressor(draft, DEFAULT_LEVEL if level is None else level)
            for it in sections:
                compressor.write(it.data)
            compressor.finish()
        else:
            _write_plain(sections, frames.PickleWriter(draft))
        draft.publish_new(name)
    finally:
        draft.discard()
    try:
        os.chmod(target, status.st_mode & 0o7777)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        if not _same(sections, _sections_of(target)):
            raise CorruptResultError(target, "what was written is not what was read")
    except BaseException:
        os.unlink(target)
        raise
    if not keep:
        os.unlink(path)


def _write_plain(sections: list[_Section], writer: frames.PickleWriter) -> None:
    for it in sections:
        if it.is_array:
            import numpy as np

            writer.write(pickle.PickleBuffer(np.frombuffer(it.data, np.uint8)))  # type: ignore[arg-type]  # see _Source
        else:
            writer.write(bytes(it.data))
    writer.finish()


def _same(a: list[_Section], b: list[_Section]) -> bool:
    return b"".join(it.data for it in a) == b"".join(it.data for it in b)


def _sections_of(path: str) -> list[_Section]:
    """Return the pickle in the file *path*, checked to its end, without what aligns arrays.

    :raises CorruptResultError: it is damaged
    """
    try:
        return list(_sections(opened(path, _pickle_in)))
    except FAILURES as error:
        raise_explained(error, path)


def _pickle_in(fd: int) -> memoryview:
    refuse_special_file(fd)
    start = os.read(fd, len(GZIP_MAGIC))
    parts = itertools.chain([start], parts_of(fd))
    if start == GZIP_MAGIC:
        return memoryview(b"".join(decompressed_parts(parts)))
    data = b"".join(parts)
    framed_reader.refuse_damage(data)
    trailer = frames.trailer_of(data, len(data))
    return memoryview(data)[: len(data) if trailer is None else trailer.length]


def _sections(data: memoryview) -> Iterator[_Section]:
    places, end = arrays_in(Memory(data))
    between = {it.start: (it.begin, it.header) for it in layout.large_values(layout.peek_into(data), len(data))}
    at = 0
    for place, size in places:
        if place in between:  # inside a frame there is nothing to align
            start, header = between[place]
            yield _Section(data[at:start], is_array=False)
            yield _Section(data[place - header : place], is_array=False)
            at = place + size
            yield _Section(data[place:at], is_array=True)
    yield _Section(data[at:end], is_array=False)
