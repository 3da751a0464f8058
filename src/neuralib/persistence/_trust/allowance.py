"""How much memory and work a file of unknown origin may cost: an allowance that is known before it is opened.

A pickle can make much of little: a copy of a large value for five bytes, a set of 216 bytes for one. So each value that
is made is charged with its size, each call with the size of what it is given, each key with the work of hashing it, and
who exceeds the allowance is refused before the memory is taken.
"""

from __future__ import annotations

import sys
from typing import Any

PER_BYTE = 64
"""Bytes of memory for each byte of a file: numbers, texts, records and short lists need 5 to 50."""
BASE_BYTES = 1 << 24
"""Bytes that any file may take."""
CONTENT_PER_BYTE = 32
"""Bytes that each byte of a compressed file may stand for."""
CONTENT_BASE_BYTES = 1 << 27
"""Bytes that any compressed file may hold."""

SLOT = 16
"""Bytes for a reference to a value: on the stack, in the memo."""
CALL = 256
"""Bytes for an object that is made by a call: what its own size does not say."""
_ITEM = 32
_DTYPE = 512
_LARGEST_DTYPE = 1000
_DEEPEST_DTYPE = 16
_SIMPLE = {int, float, complex, bool, type(None)}


def largest_content(size_bytes: int) -> int:
    """Return how many bytes a compressed file of *size_bytes* may hold."""
    return CONTENT_PER_BYTE * size_bytes + CONTENT_BASE_BYTES


class AllowanceError(ValueError):
    """A file takes more than it is allowed."""


class Allowance:
    """The bytes that are left.

    :param size_bytes: the size of the file
    :param content_bytes: that of its content, where it is compressed
    """

    __slots__ = ("_crowds", "left")

    def __init__(self, size_bytes: int, content_bytes: int = 0) -> None:
        self.left = PER_BYTE * size_bytes + 2 * content_bytes + BASE_BYTES
        self._crowds: dict[tuple[int, int], int] = {}  # by container and hash: how many keys

    def spend(self, count: int) -> None:
        """Take *count* bytes.

        :raises ValueError: they are not left
        """
        self.left -= count
        if self.left < 0:
            raise AllowanceError(
                f"it takes more memory than {PER_BYTE} times its size and {BASE_BYTES >> 20} MiB; "
                f"load it with trusted=True if you know where it comes from"
            )

    def spend_on_call(self, arguments: tuple[Any, ...]) -> None:
        """Take what a call that gets *arguments*, or an object that gets this state, may copy of them."""
        self.spend(weight(arguments, self.left))

    def spend_on_hash(self, container: object, key: object) -> None:
        """Take the work of finding *key* in *container*: numbers can be chosen so that all are in each other's way."""
        place = (id(container), hash(key))
        crowd = self._crowds.get(place, 0)
        self.spend(128 + 64 * crowd)
        self._crowds[place] = crowd + 1


def weight(arguments: tuple[Any, ...], limit: int) -> int:
    """Return an estimate of the bytes that a copy of *arguments* takes; what lists hold is not copied.

    :param limit: where to stop: tuples that hold the same tuple many times have no end
    """
    total = 0
    todo: list[Any] = [arguments]
    while todo and total <= limit:
        value = todo.pop()
        kind = type(value)
        if kind in _SIMPLE or kind in {str, bytes, bytearray}:
            total += sys.getsizeof(value)
        elif kind is tuple or kind is dict:
            total += _ITEM * (1 + len(value))
            if len(value) <= _LARGEST_DTYPE:
                todo.extend(value if kind is tuple else value.values())
        elif kind in {list, set, frozenset}:
            total += _ITEM * len(value)
        elif getattr(value, "names", None) is not None:
            total += _DTYPE * fields_within(value)
    return total


def fields_within(dtype: Any) -> int:
    """Return how many fields the numpy *dtype* has at all depths.

    :raises ValueError: more than any real one has, or nested deeper
    """
    count = 0
    todo = [(dtype, 0)]
    while todo:
        found, depth = todo.pop()
        count += 1
        if count > _LARGEST_DTYPE or depth > _DEEPEST_DTYPE:
            raise ValueError("it has a structured dtype that is too large")
        base = found.base
        todo.extend((base.fields[it][0], depth + 1) for it in base.names or ())
    return count
