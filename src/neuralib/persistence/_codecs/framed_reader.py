"""Reading the files of :mod:`~neuralib.persistence._codecs.frames`: from frame to frame, checked.

Large arrays go straight into memory of their own, or are mapped, while the rest is unpickled from a few hundred bytes. Files
without a trailer, written by others, are read as any pickle is.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
from typing import TYPE_CHECKING, Any

from neuralib.persistence._codecs import checksums
from neuralib.persistence._codecs.checksums import BY_PARTS, checksum
from neuralib.persistence._codecs.frames import MAGIC, TRAILER, trailer_of
from neuralib.persistence._codecs.layout import arrays_in, between, peek_into
from neuralib.persistence._codecs.pread import read_at, read_into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from neuralib.persistence._codecs.frames import Trailer
    from neuralib.persistence._codecs.layout import LargeValue

    Unpickle = Callable[[Any, Iterable[Any]], Any]

_PIECE = 1 << 20  # bytes that are read and go through the checksum together, while they are in the processor's cache
_TOGETHER = 64  # pieces of memory that are filled by one call, at most
_AHEAD = 1 << 10  # bytes: the frame before an array and what announces it are within them, mostly
_MISMATCH = "its checksum is not that of what was saved"


def unpickled(data: Any, buffers: Iterable[Any]) -> Any:
    """Return what the pickle *data* holds. All Python objects load: see the handlers' *trusted*."""
    load: Callable[..., Any] = pickle.load if isinstance(data, io.BufferedReader) else pickle.loads
    return load(data, buffers=buffers)


def read_bytes(data: bytes | memoryview, unpickle: Unpickle = unpickled) -> Any:
    """Return what the whole file *data* holds.

    :raises ValueError: the checksum says that it is damaged
    """
    refuse_damage(data)
    return pickle.loads(data) if unpickle is unpickled else unpickle(data, ())


def refuse_damage(data: bytes | memoryview) -> None:
    """Raise an error where the whole file *data* is empty, or its checksum says that it is damaged.

    :raises ValueError: the checksum says so
    """
    if not data:
        raise EOFError("it is empty")
    length = len(data) - TRAILER.size
    if length > 0 and data[length : length + len(MAGIC)] == MAGIC:  # every file of ours: quickly
        _, said, whole, _ = TRAILER.unpack_from(data, length)
        if said == length and checksum(memoryview(data)[:length]) == whole:
            return
    trailer = trailer_of(data, len(data))
    if trailer is not None and checksum(memoryview(data)[: trailer.length]) != trailer.checksum:
        raise ValueError(_MISMATCH)


def read_file(fd: int, unpickle: Unpickle = unpickled) -> Any:
    """Return what the file that is open as *fd*, at its start, holds; its large arrays have memory of their own.

    :raises ValueError: the checksum says that it is damaged
    """
    trailer = _trailer_in(fd)
    if trailer is None:
        with io.FileIO(fd, closefd=False) as file, io.BufferedReader(file) as buffered:
            found = unpickle(buffered, ())  # not ours: read as it comes, which takes the least memory
            if buffered.read(len(MAGIC)) == MAGIC:  # it is: a network file system told the size of another file
                raise ValueError("something else follows its end")
            return found
    arrays = arrays_in(_Ahead(fd, trailer.length).peek, trailer.length)
    structure, memory, targets = _memory_for(arrays, trailer.length)
    if _fill(fd, targets) != trailer.checksum:
        raise ValueError(_MISMATCH)
    del targets  # so that whoever unpickles may give the structure's memory back
    return unpickle(structure, memory)


def map_file(fd: int, mode: str, unpickle: Unpickle = unpickled) -> Any:
    """Return what the file that is open as *fd* holds; its large arrays are the file, mapped into memory.

    :param mode: ``'r'``: they can't be written; ``'c'``: what is written stays in memory
    :raises ValueError: the checksum says that it is damaged outside of the arrays, which are not read
    """
    size = os.fstat(fd).st_size
    if size == 0:
        raise EOFError("it is empty")
    mapped = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ if mode == "r" else mmap.ACCESS_COPY))
    trailer = trailer_of(mapped[-TRAILER.size :], size)
    if trailer is None:
        return unpickle(mapped, ())
    structure, arrays, found = _structure_of(mapped[: trailer.length])
    if found != trailer.structure:
        raise ValueError(_MISMATCH)
    return unpickle(
        structure,
        [mapped[it.start : it.end] if it.writable else mapped[it.start : it.end].toreadonly() for it in arrays],
    )


def outline_of(fd: int) -> tuple[bytes, list[int]] | None:
    """Return the pickle in the file that is open as *fd* without its large arrays, and the sizes of these in bytes.

    They are stepped over, not read. None where the file has no trailer that would vouch for the rest.

    :raises ValueError: the checksum says that the rest is damaged
    """
    trailer = _trailer_in(fd)
    if trailer is None:
        return None
    arrays = arrays_in(_Ahead(fd, trailer.length).peek, trailer.length)

    def part(begin: int, end: int) -> memoryview:
        memory = memoryview(bytearray(end - begin))
        read_into(fd, [memory], begin)
        return memory

    structure, found = _without(arrays, part, trailer.length)
    if found != trailer.structure:
        raise ValueError(_MISMATCH)
    return structure, [it.end - it.start for it in arrays]


def check_file(fd: int) -> bool:
    """Read the file that is open as *fd* to its end, and make nothing of it.

    :return: True where a checksum says that it is what was saved; False where it has none, but is a whole pickle
    :raises ValueError: it is damaged
    """
    trailer = _trailer_in(fd)
    if trailer is None:
        return _check_pickle(fd)
    arrays = arrays_in(_Ahead(fd, trailer.length).peek, trailer.length)
    whole = structure = at = 0
    for begin, end, _, aligning in between(arrays, trailer.length):
        for piece in _pieces(fd, at, begin):  # an array
            whole = checksum(piece, whole)
        at = end + aligning
        for piece in _pieces(fd, begin, at):
            whole, structure = checksum(piece, whole), checksum(piece, structure)
    if (whole, structure) != (trailer.checksum, trailer.structure):
        raise ValueError(_MISMATCH)
    return True


def _check_pickle(fd: int) -> bool:
    """Return False where what is open as *fd* is a pickle, and nothing else; raise an error where it is not."""
    import pickletools

    if os.fstat(fd).st_size == 0:
        raise EOFError("it is empty")
    # Not closed, but left to whoever holds it last: an error on the way, whose traceback holds parts of it, is to be seen.
    mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    for _ in pickletools.genops(mapped):  # type: ignore[arg-type]  # it reads as a file does
        pass
    left = len(mapped) - mapped.tell()
    if left:
        raise ValueError(f"{left} bytes follow the end of the pickle, and are no checksum")
    return False


def _pieces(fd: int, at: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of the file that is open as *fd* between two places, not too many at once."""
    while at < end:
        piece = read_at(fd, min(_PIECE, end - at), at)
        if not piece:
            raise EOFError("it ends too early")
        yield piece
        at += len(piece)


def _memory_for(arrays: list[LargeValue], length: int) -> tuple[bytearray, list[Any], list[memoryview]]:
    """Return memory for the pickle without its *arrays*, for each of these, and all of it in the order of the file.

    The first unpickles to the whole, given the second as out-of-band buffers.
    """
    parts = list(between(arrays, length))
    structure = bytearray(sum(end - begin + len(opcodes) for begin, end, opcodes, _ in parts))
    view = memoryview(structure)
    memory: list[Any] = []
    if arrays:
        import numpy as np

        memory = [np.empty(it.end - it.start, np.uint8) for it in arrays]  # in large pages, unlike a bytearray's
    targets = []
    at = 0
    for number, (begin, end, opcodes, aligning) in enumerate(parts):
        size = end - begin
        targets.append(view[at : at + size])
        view[at + size : at + size + len(opcodes)] = opcodes
        at += size + len(opcodes)
        if aligning:
            targets += [memoryview(bytearray(aligning)), memoryview(memory[number])]
    return structure, memory, targets


def _fill(fd: int, targets: list[memoryview]) -> int:
    """Fill *targets*, one after the other, from the start of the file open as *fd*; return the checksum."""
    found = at = size = 0
    together: list[memoryview] = []

    def fill() -> None:
        nonlocal found, at, size, together
        read_into(fd, together, at)
        for it in together:
            found = checksum(it, found)
        at, size, together = at + size, 0, []

    for target in targets:
        if BY_PARTS is not None and len(target) >= checksums.ASIDE_FROM:
            fill()
            found = BY_PARTS(fd, target, at, found)
            at += len(target)
            continue
        for start in range(0, len(target), _PIECE):
            piece = target[start : start + _PIECE]
            together.append(piece)
            size += len(piece)
            if size >= _PIECE or len(together) == _TOGETHER:
                fill()
    fill()
    return found


def _structure_of(pickled: memoryview) -> tuple[bytes, list[LargeValue], int]:
    """Return the mapped pickle *pickled* without its large arrays, where these are, and the checksum without them."""
    arrays = arrays_in(peek_into(pickled), len(pickled))
    structure, found = _without(arrays, lambda begin, end: pickled[begin:end], len(pickled))
    return structure, arrays, found


def _without(arrays: list[LargeValue], part: Callable[[int, int], memoryview], length: int) -> tuple[bytes, int]:
    """Return the pickle of *length* bytes without its *arrays*, and its checksum without them.

    :param part: returns what is between two places
    """
    structure: list[bytes | memoryview] = []
    found = 0
    for begin, end, opcodes, aligning in between(arrays, length):
        data = part(begin, end + aligning)
        found = checksum(data, found)
        structure += [data[: end - begin], opcodes]
    return b"".join(structure), found


def _trailer_in(fd: int) -> Trailer | None:
    """Return the trailer of the file that is open as *fd*, or None."""
    size = os.fstat(fd).st_size
    return trailer_of(read_at(fd, TRAILER.size, max(0, size - TRAILER.size)), size)


class _Ahead:
    """The bytes of a file from a place on, of which a few more than asked for are read.

    :param length: where the file ends for whoever asks
    """

    def __init__(self, fd: int, length: int) -> None:
        self._fd = fd
        self._length = length
        self._have = b""
        self._start = 0

    def peek(self, at: int, count: int) -> bytes:
        """Return *count* bytes from the place *at* on, or what is left."""
        count = min(count, self._length - at)
        begin = at - self._start
        if begin < 0 or begin + count > len(self._have):
            begin, self._start = 0, at
            self._have = read_at(self._fd, min(_AHEAD, self._length - at), at)
            if len(self._have) < count:
                raise EOFError("it ends too early")
        return self._have[begin : begin + count]
