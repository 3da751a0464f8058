"""What a file of unknown origin may cost: one account of memory and work, known before the file is opened.

A pickle can make much of little: a copy of a large value for five bytes, a set of 216 bytes for one, keys that take ages
to compare. So every instruction, every value, every call and every key is charged here, and a file that exceeds its
allowance is refused before the memory or the time is taken. One unit of the account stands for a byte of memory, or for
up to 20 nanoseconds of work.
"""

from __future__ import annotations

import enum
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")

PER_BYTE = 64
"""Bytes of memory for each byte of a file: numbers, texts, records and short lists need 5 to 50."""
BASE_BYTES = 1 << 24
"""Bytes that any file may take."""
CONTENT_PER_BYTE = 32
"""Bytes that each byte of a compressed file may stand for."""
CONTENT_BASE_BYTES = 1 << 27
"""Bytes that any compressed file may hold."""

STEP = 24
"""For each instruction: its time, and a place on the stack or in the memo."""
CALL = 256
"""For an object that is made by a call: what its own size does not say."""
ENTRY = 128
"""For an entry in a table that the machine keeps beside its values."""

HEAD_BYTES = 1 << 26
"""For a whole head."""
_HEAD_STEP = 200  # it ends after some 300,000 instructions
_ITEM = 32
_KEY = 48
_DTYPE = 512
_LARGEST_DTYPE = 1000
_LONGEST_DTYPE = 1 << 16  # characters of all names, which are written out for each of its fields that has them
_DEEPEST_DTYPE = 16
_DEEPEST_KEY = 500  # hashing deeper tuples could overflow the stack of C
_EXACT_HASH_BITS = 61  # of integers: different ones with fewer bits have different hashes
_TOGETHER = 1000  # keys: fewer have no path through a table that is long enough to matter
_NS_PER_UNIT = 20
_TEXT = frozenset({str})  # its hash can't be chosen
_COPIED = {int, float, complex, bool, type(None), str, bytes, bytearray}
_PLAIN_MODULES = {"datetime", "decimal", "fractions", "numpy", "pathlib", "pathlib._local", "uuid", "zoneinfo"}

_clock: Callable[[], int] = getattr(time, "thread_time_ns", time.process_time_ns)


def largest_content(size_bytes: int) -> int:
    """Return how many bytes a compressed file of *size_bytes* may hold."""
    return CONTENT_PER_BYTE * size_bytes + CONTENT_BASE_BYTES


class AllowanceError(ValueError):
    """A file takes more than it is allowed."""


class Allowance:
    """What is left of the account of one file.

    :param size_bytes: the size of the file
    :param content_bytes: that of its content, where it is compressed
    """

    __slots__ = ("_crowds", "left", "step")

    def __init__(self, size_bytes: int, content_bytes: int = 0) -> None:
        self.left = PER_BYTE * size_bytes + 2 * content_bytes + BASE_BYTES
        self.step = STEP
        self._crowds: dict[tuple[int, int], int] = {}  # by container and hash: how many keys

    @classmethod
    def of_head(cls) -> Allowance:
        """Return the account of a head, which is the same for files of all sizes."""
        found = cls(0)
        found.left, found.step = HEAD_BYTES, _HEAD_STEP
        return found

    def spend(self, count: int) -> None:
        """Charge *count* units.

        :raises AllowanceError: they are not left
        """
        self.left -= count
        if self.left < 0:
            raise AllowanceError(
                f"it takes more memory or time than {PER_BYTE} times its size and {BASE_BYTES >> 20} MiB allow; "
                f"load it with trusted=True if you know where it comes from"
            )

    def spend_on_call(self, arguments: tuple[Any, ...]) -> None:
        """Charge what a call may copy of its *arguments*, or an object of its state."""
        cost = 0
        todo: list[Any] = [arguments]
        while todo and cost <= self.left:  # tuples that hold the same tuple many times have no end
            value = todo.pop()
            kind = type(value)
            if kind in _COPIED:
                cost += sys.getsizeof(value)
            elif kind is tuple or kind is dict:
                cost += sys.getsizeof(value) if kind is dict else _ITEM * (1 + len(value))
                if len(value) <= _LARGEST_DTYPE:
                    todo.extend(value if kind is tuple else value.values())
            elif kind in {list, set, frozenset}:  # what these hold is not copied
                cost += _ITEM * len(value)
            elif getattr(value, "names", None) is not None:
                cost += _DTYPE * fields_within(value)
        self.spend(cost)

    def timed(self, act: Callable[..., T], *given: Any) -> T:
        """Return what *act* makes of *given*, and charge the time that it takes."""
        start = _clock()
        made = act(*given)
        self.spend((_clock() - start) // _NS_PER_UNIT)
        return made

    def fill(self, target: Any, add: Callable[[Any], object], items: Sequence[Any], keys: Iterable[Any]) -> None:
        """Give *items* to *add*, which puts them into *target*, a set or dict.

        :param keys: what is hashed of *items*
        :raises AllowanceError: hashing and comparing the keys would take too long
        """
        before = sys.getsizeof(target)
        if self._spend_on_keys(target, keys) and len(target) + len(items) > _TOGETHER:
            # Numbers can be chosen so that each takes a long path through the table: that only shows in the time.
            for start in range(0, len(items), _TOGETHER):
                self.timed(add, items[start : start + _TOGETHER])
        else:
            add(items)
        self.spend(sys.getsizeof(target) - before)

    def set_of(self, items: Sequence[Any]) -> set[Any]:
        """Return the set of *items*."""
        made: set[Any] = set()
        self.fill(made, made.update, items, items)
        return made

    def spend_on_key(self, key: object) -> int:
        """Charge the work of hashing *key*, and return the work of comparing it with a key that differs at its end.

        :raises ValueError: it is nested too deeply
        """
        cost = 0
        todo = [(key, 0)]
        while todo:
            value, depth = todo.pop()
            if depth > _DEEPEST_KEY:
                raise ValueError("its keys are nested too deeply")
            if isinstance(value, (str, bytes)):
                work, size = 0, len(value) >> 2
            elif isinstance(value, int):
                work = size = value.bit_length() >> 5
            elif isinstance(value, frozenset):  # it knows the hashes of its items, which may be in each other's way
                work, size = 0, _ITEM * len(value) ** 2
            else:
                work = size = sys.getsizeof(value)
                parts = value if isinstance(value, tuple) else _hashed_parts(value)
                todo.extend((part, depth + 1) for part in parts)
            self.spend(_KEY + work)
            cost += size
        return cost

    def _spend_on_keys(self, container: object, keys: Iterable[Any]) -> bool:
        """Charge the work of finding *keys* in *container*; return whether their hashes can be chosen."""
        if _TEXT.issuperset(map(type, keys)):
            return False
        for key in keys:
            kind = type(key)
            if kind is str or (kind is int and key.bit_length() <= _EXACT_HASH_BITS):
                continue
            cost = self.spend_on_key(key)
            place = (id(container), hash(key))
            crowd = self._crowds.get(place, 0)
            self.spend(ENTRY + crowd * (_KEY + cost))
            self._crowds[place] = crowd + 1
        return True


def _hashed_parts(value: object) -> Iterator[object]:
    """Yield what an object of an admitted class may hash where it is hashed: its attributes."""
    kind = type(value)
    if kind.__hash__ is object.__hash__ or kind.__module__ in _PLAIN_MODULES or isinstance(value, (enum.Enum, type)):
        return
    yield from getattr(value, "__dict__", {}).values()
    for base in kind.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if hasattr(value, name):
                yield getattr(value, name)


def fields_within(dtype: Any) -> int:
    """Return how many fields the numpy *dtype* has at all depths.

    :raises ValueError: more than any real one has, nested deeper, or with longer names
    """
    count = chars = 0
    todo = [(dtype, 0)]
    while todo:
        found, depth = todo.pop()
        count += 1
        base = found.base
        names = base.names or ()
        chars += sum(map(len, names))
        if count > _LARGEST_DTYPE or chars > _LONGEST_DTYPE or depth > _DEEPEST_DTYPE:
            raise ValueError("it has a structured dtype that is too large")
        todo.extend((base.fields[name][0], depth + 1) for name in names)
    return count
