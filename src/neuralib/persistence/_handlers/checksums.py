"""Checksums of files: the CRC-32 that gzip, zip and PNG use too, of pieces in order, aside, or of halves put together."""

from __future__ import annotations

import os
import queue
import threading
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

ASIDE_FROM = 1 << 24
"""Bytes from which on threads are worth their start."""

_ZLIB_BELOW = 1 << 16  # bytes
_PIECE = 1 << 20  # bytes that are read and added up together, while they are in the processor's cache
_MOST_READERS = 4  # more don't make the memory quicker
_POLYNOMIAL = 0xEDB88320  # of CRC-32, the coefficient of x**0 in the highest bit, as in all that follows
_ONE, _X_TO_8 = 1 << 31, 1 << 23


def checksum(data: Buffer, start: int = 0) -> int:
    """Return the CRC-32 of *data*, going on from *start*."""
    if memoryview(data).nbytes < _ZLIB_BELOW:
        return zlib.crc32(data, start)
    from zlib_ng import zlib_ng  # several times faster, for more memory than the import costs

    return zlib_ng.crc32(data, start)


def combined(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of two parts, given that of each and the *size* of the second in bytes.

    Bytes after a part multiply its checksum by x**8 each, as polynomials over GF(2) modulo that of CRC-32.
    """
    power, factor = _ONE, _X_TO_8
    while size:
        if size & 1:
            power = _times(power, factor)
        factor = _times(factor, factor)
        size >>= 1
    return _times(power, first) ^ second


def _times(a: int, b: int) -> int:
    """Return the product of two polynomials over GF(2) modulo that of CRC-32."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


class Aside:
    """The checksum of many pieces, computed by a thread of its own while they are written."""

    def __init__(self, start: int) -> None:
        self._pieces: queue.SimpleQueue[Buffer | None] = queue.SimpleQueue()
        self._found: list[int | BaseException] = []
        # The thread does not refer to this object, so that it ends with it, wherever Ctrl-C may come.
        arguments = (self._pieces, start, self._found)
        self._thread = threading.Thread(target=_add_up, args=arguments, name="checksum", daemon=True)
        self._thread.start()

    def add(self, piece: Buffer) -> None:
        """Take the next piece, which must not change before :meth:`result` is asked for."""
        self._pieces.put(piece)

    def result(self) -> int:
        """Return the checksum of all pieces, once there are no more."""
        self._pieces.put(None)
        self._thread.join()
        (found,) = self._found
        if isinstance(found, BaseException):
            raise found
        return found

    def __del__(self) -> None:
        if hasattr(self, "_pieces"):
            self._pieces.put(None)


def _add_up(pieces: queue.SimpleQueue[Buffer | None], total: int, found: list[int | BaseException]) -> None:
    """Note in *found* the checksum of *pieces* up to None, going on from *total*, or what kept it from being known."""
    try:
        while (piece := pieces.get()) is not None:
            total = checksum(piece, total)
        found.append(total)
    except BaseException as error:  # a MemoryError, say: raised again where the checksum is needed
        found.append(error)


class _Part(threading.Thread):
    """One of several stretches of a file that are read at the same time."""

    def __init__(self, fd: int, target: memoryview, at: int) -> None:
        super().__init__(name="reading", daemon=True)
        self._fd, self._target, self._at = fd, target, at
        self.checksum = 0
        self.size = len(target)
        self.problem: BaseException | None = None
        self.stopped = False

    def run(self) -> None:
        left, at = self._target, self._at
        try:
            while left and not self.stopped:
                got = os.preadv(self._fd, [left[:_PIECE]], at)
                if not got:
                    raise EOFError("it ends too early")
                self.checksum = checksum(left[:got], self.checksum)
                left, at = left[got:], at + got
        except BaseException as error:  # raised again where the parts are put together
            self.problem = error


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def read_by_parts(fd: int, target: memoryview, at: int, start: int) -> int:
    """Fill *target*, which is large, from the file open as *fd*; return the checksum, going on from *start*.

    Each processor reads a part and adds it up, since one alone is kept from the speed of the memory by copying.

    :param at: where in the file *target* begins, in bytes
    :raises EOFError: the file ends too early
    :raises OSError: it can't be read
    """
    count = min(_MOST_READERS, _processors())
    size = -(-len(target) // count // _PIECE) * _PIECE  # rounded up: no part but the last ends within a page of memory
    parts = [_Part(fd, target[it : it + size], at + it) for it in range(0, len(target), size)]
    try:
        for it in parts[1:]:
            it.start()
        parts[0].run()
        for it in parts[1:]:
            it.join()
    finally:
        for it in parts:  # Ctrl-C: nobody may read from a descriptor that is closed and given to another file
            it.stopped = True
        for it in parts[1:]:
            if it.ident is not None:
                it.join()
    for it in parts:
        if it.problem is not None:
            raise it.problem
        start = combined(start, it.checksum, it.size)
    return start


BY_PARTS: Callable[[int, memoryview, int, int], int] | None = read_by_parts if hasattr(os, "preadv") else None
"""The function, where the system can read so."""
