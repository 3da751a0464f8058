"""Reading the files of :mod:`~neuralib.persistence._handlers.frames`: from frame to frame, checked.

Large arrays go straight into memory of their own, or are mapped, while the rest is unpickled from a few hundred bytes. Files
without a trailer, written by others, are read as any pickle is.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import zlib
from typing import TYPE_CHECKING, Any

from neuralib.persistence._handlers import checksums
from neuralib.persistence._handlers.checksums import BY_PARTS, checksum
from neuralib.persistence._handlers.frames import (
    AT_ONCE,
    FRAME,
    LONG_HEADERS,
    LONGEST_PAD,
    MAGIC,
    TRAILER,
    U32,
    U64,
    WRITABLE,
    pad_size,
    trailer_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer

    Unpickle = Callable[[Any, Iterable[Any]], Any]

_PIECE = 1 << 20  # bytes that are read and go through the checksum together, while they are in the processor's cache
_NEXT_BUFFER, _READONLY_BUFFER = b"\x97", b"\x98"
_MISMATCH = "its checksum is not that of what was saved"


def unpickled(data: Any, buffers: Iterable[Any]) -> Any:
    """Return what the pickle *data* holds. All Python objects load: see the handlers' *trusted*."""
    load: Callable[..., Any] = pickle.load if isinstance(data, io.BufferedReader) else pickle.loads
    return load(data, buffers=buffers)


def read_bytes(data: bytes, unpickle: Unpickle = unpickled) -> Any:
    """Return what the whole file *data* holds.

    :raises ValueError: the checksum says that it is damaged
    """
    refuse_damage(data)
    return pickle.loads(data) if unpickle is unpickled else unpickle(data, ())


def refuse_damage(data: bytes) -> None:
    """Raise an error where the whole file *data* is empty, or its checksum says that it is damaged.

    :raises ValueError: the checksum says so
    """
    if not data:
        raise EOFError("it is empty")
    length = len(data) - TRAILER.size
    if 0 < length < AT_ONCE and data.startswith(MAGIC, length):  # nearly every small file: quickly
        _, said, whole, _ = TRAILER.unpack_from(data, length)
        if said == length and zlib.crc32(data[:length]) == whole:
            return
    trailer = trailer_of(data, len(data))
    if trailer is not None and checksum(data[: trailer.length]) != trailer.checksum:
        raise ValueError(_MISMATCH)


def read_file(fd: int, unpickle: Unpickle = unpickled) -> Any:
    """Return what the file that is open as *fd* holds; its large arrays have memory of their own.

    :raises ValueError: the checksum says that it is damaged
    """
    size = os.fstat(fd).st_size
    os.lseek(fd, max(0, size - TRAILER.size), os.SEEK_SET)
    trailer = trailer_of(os.read(fd, TRAILER.size), size)
    os.lseek(fd, 0, os.SEEK_SET)
    with io.FileIO(fd, closefd=False) as file:
        if trailer is None:
            with io.BufferedReader(file) as buffered:  # not ours: read as it comes, which takes the least memory
                found = unpickle(buffered, ())
                if buffered.read(len(MAGIC)) == MAGIC:  # it is: a network file system told the size of another file
                    raise ValueError("something else follows its end")
                return found
        source = _Source(file, trailer.length)
        structure, arrays = _hopped(source)
        if source.checksum != trailer.checksum:
            raise ValueError(_MISMATCH)
    return unpickle(structure, arrays)


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
    source = _Mapped(mapped, trailer.length)
    structure, arrays = _hopped(source)
    if source.checksum != trailer.structure:
        raise ValueError(_MISMATCH)
    return unpickle(structure, arrays)


def outline_of(fd: int) -> tuple[bytearray, list[int]] | None:
    """Return the pickle in the file that is open as *fd* without its large arrays, and the sizes of these in bytes.

    They are stepped over, not read. None where the file has no trailer that would vouch for the rest.

    :raises ValueError: the checksum says that the rest is damaged
    """
    size = os.fstat(fd).st_size
    os.lseek(fd, max(0, size - TRAILER.size), os.SEEK_SET)
    trailer = trailer_of(os.read(fd, TRAILER.size), size)
    os.lseek(fd, 0, os.SEEK_SET)
    if trailer is None:
        return None
    with io.FileIO(fd, closefd=False) as file:
        source = _Outlined(file, trailer.length)
        structure, sizes = _hopped(source)
        if source.checksum != trailer.structure:
            raise ValueError(_MISMATCH)
    return structure, sizes


def check_file(fd: int) -> bool:
    """Read the file that is open as *fd* to its end, and make nothing of it.

    :return: True where a checksum says that it is what was saved; False where it has none, but is a whole pickle
    :raises ValueError: it is damaged
    """
    size = os.fstat(fd).st_size
    if size == 0:
        raise EOFError("it is empty")
    # Not closed, but left to whoever holds it last: an error on the way, whose traceback holds parts of it, is to be seen.
    mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    trailer = trailer_of(mapped[-TRAILER.size :], size)
    if trailer is None:
        import pickletools

        for _ in pickletools.genops(mapped):  # type: ignore[arg-type]  # it reads as a file does
            pass
        if mapped.tell() != size:
            raise ValueError(f"{size - mapped.tell()} bytes follow the end of the pickle, and are no checksum")
        return False
    outside = _Mapped(memoryview(mapped), trailer.length)
    _hopped(outside)
    if outside.checksum != trailer.structure:
        raise ValueError(_MISMATCH)
    os.lseek(fd, 0, os.SEEK_SET)
    found, left = 0, trailer.length
    while left:
        piece = os.read(fd, min(left, _PIECE))
        if not piece:
            raise EOFError("it ends too early")
        found = checksum(piece, found)
        left -= len(piece)
    if found != trailer.checksum:
        raise ValueError(_MISMATCH)
    return True


class _Source:
    """The bytes of a file in order, with the checksum of what was taken."""

    def __init__(self, file: io.FileIO, length: int) -> None:
        self._file = file
        self._ahead = b""
        self.left = length
        self.checksum = 0

    def peek(self, count: int) -> bytes:
        """Return the next *count* bytes, or what is left, without taking them."""
        while len(self._ahead) < min(count, self.left):
            more = self._file.read(min(AT_ONCE, self.left - len(self._ahead)))
            if not more:
                raise EOFError("it ends too early")
            self._ahead += more
        return self._ahead[:count]

    def take(self, count: int) -> Buffer:
        """Return the next *count* bytes."""
        if count > self.left:
            raise EOFError(f"a value of {count} bytes goes beyond its end")
        if count <= len(self._ahead):
            data, self._ahead = self._ahead[:count], self._ahead[count:]
            self.left -= count
            self.checksum = checksum(data, self.checksum)
            return data
        target = bytearray(count)
        self._fill(memoryview(target))
        return target

    def take_array(self, count: int, *, writable: bool) -> Any:
        """Return the next *count* bytes as memory for an array."""
        import numpy as np

        if count > self.left:
            raise EOFError(f"an array of {count} bytes goes beyond its end")
        target = np.empty(count, np.uint8)  # its memory comes in large pages, unlike a bytearray's
        self._fill(memoryview(target))  # type: ignore[arg-type]  # numpy types it from Python 3.12 on
        return target

    def _fill(self, target: memoryview) -> None:
        have = len(self._ahead)
        if have > len(target):
            target[:], self._ahead = self._ahead[: len(target)], self._ahead[len(target) :]
            have = len(target)
        else:
            target[:have], self._ahead = self._ahead, b""
        self.checksum = checksum(target[:have], self.checksum)
        self.left -= len(target)
        target = target[have:]
        if BY_PARTS is not None and len(target) >= checksums.ASIDE_FROM:
            at = self._file.tell()
            self.checksum = BY_PARTS(self._file.fileno(), target, at, self.checksum)
            self._file.seek(at + len(target))
            return
        while target:
            got = self._file.readinto(target[:_PIECE])
            if not got:
                raise EOFError("it ends too early")
            self.checksum = checksum(target[:got], self.checksum)
            target = target[got:]


class _Outlined(_Source):
    """The same without the arrays, which are stepped over."""

    def take_array(self, count: int, *, writable: bool) -> int:
        """Step over the next *count* bytes, and return how many they are."""
        if count > self.left:
            raise EOFError(f"an array of {count} bytes goes beyond its end")
        have = min(len(self._ahead), count)
        self._ahead = self._ahead[have:]
        self._file.seek(count - have, os.SEEK_CUR)
        self.left -= count
        return count


class _Mapped:
    """The same for a mapped file, whose arrays are not looked at."""

    def __init__(self, mapped: memoryview, length: int) -> None:
        self._mapped = mapped
        self._at = 0
        self.left = length
        self.checksum = 0

    def peek(self, count: int) -> bytes:
        return bytes(self._mapped[self._at : self._at + min(count, self.left)])

    def _next(self, count: int) -> memoryview:
        if count > self.left:
            raise EOFError(f"a value of {count} bytes goes beyond its end")
        data = self._mapped[self._at : self._at + count]
        self._at += count
        self.left -= count
        return data

    def take(self, count: int) -> Buffer:
        data = self._next(count)
        self.checksum = checksum(data, self.checksum)
        return data

    def take_array(self, count: int, *, writable: bool) -> Any:
        data = self._next(count)
        return data if writable else data.toreadonly()


def large_values(pickled: memoryview) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield where each large value between the frames of *pickled* begins, where what aligns it does, and its header's size."""
    at = 2
    while at < len(pickled):
        ahead = bytes(pickled[at : at + LONGEST_PAD + 9])
        pad = pad_size(ahead)
        if ahead[0] == FRAME and len(ahead) >= 9:
            at += 9 + U64.unpack_from(ahead, 1)[0]
            continue
        pad = pad if ahead[pad] in LONG_HEADERS else 0
        header = LONG_HEADERS.get(ahead[pad], 0)
        if not header or len(ahead) < pad + header:
            return
        yield at + pad + header, (at, header)
        at += pad + header + (U64 if header == 9 else U32).unpack_from(ahead, pad + 1)[0]


def _hopped(source: _Source | _Mapped) -> tuple[bytearray, list[Any]]:
    """Return the pickle that *source* holds without its large arrays, and these.

    The result unpickles to the same, given the arrays as out-of-band buffers.
    """
    structure = bytearray(source.take(2))
    arrays: list[Any] = []
    while source.left:
        ahead = source.peek(LONGEST_PAD + 9)
        opcode = ahead[0]
        pad = pad_size(ahead)
        if opcode == FRAME and len(ahead) >= 9:
            structure += source.take(min(9 + U64.unpack_from(ahead, 1)[0], source.left))
        elif pad and (header := LONG_HEADERS.get(ahead[pad], 0)) and len(ahead) >= pad + header:
            source.take(pad + header)
            size = (U64 if header == 9 else U32).unpack_from(ahead, pad + 1)[0]
            writable = ahead[pad] in WRITABLE
            arrays.append(source.take_array(size, writable=writable))
            structure += _NEXT_BUFFER if writable else _NEXT_BUFFER + _READONLY_BUFFER
        elif (header := LONG_HEADERS.get(opcode, 0)) and len(ahead) >= header:
            size = (U64 if header == 9 else U32).unpack_from(ahead, 1)[0]
            structure += source.take(min(header + size, source.left))
        else:
            structure += source.take(source.left)  # the last opcodes may stand without a frame
    return structure, arrays
