"""The compiled core in plain Python: to read, and to compare with.

Each public function and class of the ``.pyx`` modules has a twin of the same name here, module after module.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import pickletools
import re
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from neuralib.persistence import (
    AutoIncFieldNotResolvedError,
    KeyNotSetError,
    MissingFieldError,
    NotPersistenceClassError,
    UnknownFieldError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    ReadName = tuple[str, list[str | None], bool]

# ---------------------------------------------------------------------------------------------- _core

MOST_BYTES = 255


class Layout:
    """What the functions below need to know of one persistence class."""

    def __init__(
        self,
        owner: type,
        names: tuple[str, ...],
        required: frozenset[str],
        fallbacks: dict[str, Callable[[], Any]],
        head: str,
        parts: tuple[tuple[str, str, Callable[..., str | None] | None], ...],
        autoinc: str | None,
        wildcard: object,
        any_text: type,
        check: Callable[[str, Any, dict[str, Any]], None],
    ) -> None:
        self.owner, self.names, self.required, self.fallbacks = owner, names, required, fallbacks
        self.head, self.parts, self.autoinc, self.check = head, parts, autoinc, check
        self.wildcard, self.any_text = wildcard, any_text
        self.number_shows = autoinc in [name for name, _, _ in parts]


def layout_of(cls: type) -> Any:
    layout = getattr(cls, "_persistence_layout_", None)
    if layout is None:
        raise NotPersistenceClassError(cls.__qualname__)
    return layout


def as_dict(data: Any) -> dict[str, Any]:
    if isinstance(data, type):
        raise NotPersistenceClassError(data.__qualname__)
    layout = layout_of(type(data))
    return {name: getattr(data, name) for name in layout.names if hasattr(data, name)}


def from_dict(data_cls: type, d: dict[str, Any]) -> Any:
    layout = layout_of(data_cls)
    if not hasattr(getattr(data_cls, "__init__", None), "_persistence_generated_"):
        return layout.make_by_init(data_cls, d)
    result = data_cls.__new__(data_cls)
    for name in layout.names:
        if name in d:
            setattr(result, name, d[name])
        elif name in layout.fallbacks:
            setattr(result, name, layout.fallbacks[name]())
        elif name in layout.required:
            raise MissingFieldError(data_cls.__qualname__, name)
    return result


def value_of(layout: Any, data: Any, overrides: dict[str, Any] | None, name: str) -> Any:
    if overrides and name in overrides:
        return overrides[name]
    if data is not None and hasattr(data, name):
        return getattr(data, name)
    raise KeyNotSetError(layout.owner.__qualname__, name)


def text_of(layout: Any, name: str, value: Any, as_text: Callable[..., str | None] | None) -> str | None:
    """The text of *value* in a name; None where the class leaves the key out of it."""
    if value is layout.wildcard:
        return "*"
    if type(value) is layout.any_text:
        return value.text  # type: ignore[no-any-return]
    text = value if as_text is None else as_text(value)
    if text is None and as_text is not None:
        return None
    return text if type(text) is str and text.isascii() else layout.make_text(name, text)


def format_name(layout: Any, data: Any, overrides: dict[str, Any] | None) -> str:
    for name in overrides or {}:
        if name not in layout.names:
            raise UnknownFieldError(layout.owner.__qualname__, name, layout.names, layout.former_names.get(name))
    pieces = [layout.head]
    for name, lead, as_text in layout.parts:
        text = text_of(layout, name, value_of(layout, data, overrides, name), as_text)
        if text is not None:
            pieces += [lead, text]
    return "".join(pieces)


def has_placeholder(layout: Any, data: Any, names: Iterable[str]) -> bool:
    values = [value_of(layout, data, None, name) for name in names]
    return any(value is layout.wildcard or type(value) is layout.any_text for value in values)


def plain_name(layout: Any, data: Any, suffix: str) -> str | None:
    name = format_name(layout, data, None) + suffix
    shown = [name for name, _, _ in layout.parts]
    if layout.autoinc in shown and getattr(data, layout.autoinc) is None:
        return None
    return name if is_plain_name(name) and not has_placeholder(layout, data, shown) else None


def is_plainly_named(layout: Any, suffix: str, data: Any, name: str) -> bool:
    if not is_plain_name(name):
        return False
    for key, _, as_text in layout.parts:
        value = value_of(layout, data, None, key)
        brief = type(value) in {float, bool, type(None)}
        brief = (
            brief or (type(value) is str and value.isascii()) or (type(value) is int and -(1 << 63) <= value < 1 << 63)
        )
        if as_text is not None or not brief:
            return False
    return plain_name(layout, data, suffix) == name


def around_number(layout: Any, data: Any, suffix: str) -> tuple[str, str] | None:
    """The name is formatted twice here, around a text in the place of the number that is nowhere else in it."""
    parts = {name: as_text for name, _, as_text in layout.parts}
    others = [name for name in parts if name != layout.autoinc]
    for name in others:
        value_of(layout, data, None, name)
    if layout.autoinc not in parts or parts[layout.autoinc] is not None or has_placeholder(layout, data, others):
        return None
    head, _, tail = format_name(layout, data, {layout.autoinc: "\ue000"}).partition("\ue000")
    if not is_plain_name(head + tail) or len(head + tail + suffix) > MOST_BYTES - 20:
        return None
    return head, tail + suffix


def is_plain_name(text: str) -> bool:
    is_short = os.name == "posix" and type(text) is str and text.isascii() and len(text) <= MOST_BYTES
    return is_short and text not in {"", ".", ".."} and "/" not in text and "\0" not in text


def filename(result: Any, /, **overrides: Any) -> str:
    layout, data = (layout_of(result), None) if isinstance(result, type) else (layout_of(type(result)), result)
    for name in overrides:
        if name not in layout.names:
            raise UnknownFieldError(layout.owner.__qualname__, name, layout.names, layout.former_names.get(name))
    if not is_numbered(layout, data, overrides):
        raise AutoIncFieldNotResolvedError(result, layout.autoinc)
    name = format_name(layout, data, overrides)
    if not is_plain_name(name):
        layout.check(name, data, overrides)
    return name


def is_numbered(layout: Any, data: Any, overrides: dict[str, Any] | None) -> bool:
    if layout.autoinc is None:
        return True
    if overrides and layout.autoinc in overrides:
        return overrides[layout.autoinc] is not None
    return data is not None and getattr(data, layout.autoinc, None) is not None


# ---------------------------------------------------------------------------------------------- _names


class NameTable:
    """Names, and the texts of their keys: each name is a row, each key a column."""

    def __init__(self, rows: list[ReadName], width: int, last_pattern: int = -1) -> None:
        self.rows = rows
        self.last_pattern = last_pattern
        self.any_doubtful = any(doubtful for _, _, doubtful in rows)
        by_column = [[texts[column] for _, texts, _ in rows] for column in range(width)]
        self.texts = tuple(list(dict.fromkeys(text for text in texts if text is not None)) for texts in by_column)

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, row: int) -> str:
        return self.rows[checked(row, self.rows)][0]

    def all_names(self) -> list[str]:
        return [name for name, _, _ in self.rows]

    def doubtful(self, row: int) -> bool:
        return self.rows[checked(row, self.rows)][2]

    def codes_of(self, row: int) -> tuple[int, ...]:
        texts = self.rows[checked(row, self.rows)][1]
        return tuple(-1 if text is None else self.texts[column].index(text) for column, text in enumerate(texts))

    def agrees(self, row: int, names: tuple[str, ...], values: dict[str, Any]) -> bool:
        _, texts, doubtful = self.rows[checked(row, self.rows)]
        if doubtful or len(names) != len(texts) or not all(name in values for name in names):
            return False
        plain = [text_of_plain(values[name]) for name in names]
        return None not in plain and plain == texts

    def column(self, column: int, rows: list[int]) -> list[int]:
        checked(column, self.texts)
        return [self.codes_of(row)[column] for row in rows]

    def groups(self, column: int) -> dict[tuple[int, ...], list[int]]:
        found: dict[tuple[int, ...], list[int]] = {}
        for row in range(len(self.rows)):
            codes = list(self.codes_of(row))
            code = codes.pop(checked(column, self.texts))
            found.setdefault(tuple(codes), []).append(code)
        return found

    def select(self, admitted: tuple[bytes | None, ...], ranks: tuple[list[int] | None, ...]) -> list[int]:
        """Which rows are admitted, in the order of their ranks; a missing text comes first."""
        codes = [self.codes_of(row) for row in range(len(self.rows))]
        good = [
            row
            for row, mine in enumerate(codes)
            if self.doubtful(row)
            or all(byte is None or byte[code + 1] for byte, code in zip(admitted, mine, strict=True))
        ]

        def places(row: int) -> list[int]:
            counted = [(ranked, code) for ranked, code in zip(ranks, codes[row], strict=True) if ranked is not None]
            return [-1 if code < 0 else ranked[code] for ranked, code in counted]

        return sorted(good, key=places)


def checked(index: int, items: Sequence[object]) -> int:
    if not 0 <= index < len(items):
        raise IndexError(index)
    return index


def read_names(
    names: list[str] | list[bytes],
    patterns: Sequence[tuple[tuple[str, ...], tuple[int, ...]]],
    wanted: tuple[frozenset[str | None] | None, ...],
) -> NameTable:
    """Every way to read a name is tried."""
    rows: list[ReadName] = []
    matched = [-1]
    for name in each_name(names):
        ways = [(columns, texts) for literals, columns in patterns for texts in every_way(name, literals)]
        if not ways:
            continue
        found: list[str | None] = [None] * len(wanted)
        for column, text in zip(*ways[0], strict=True):
            found[column] = text
        doubtful = len(ways) > 1
        if doubtful or all(want is None or text in want for want, text in zip(wanted, found, strict=True)):
            rows.append((name, found, doubtful))
            matched.append(next(place for place, (literals, _) in enumerate(patterns) if every_way(name, literals)))
    return NameTable(rows, len(wanted), max(matched))


def each_name(names: list[str] | list[bytes]) -> list[str]:
    """Bytes have many names with slashes between; no name has one, or a NUL character."""
    split = [part.decode("utf-8", "surrogatepass").split("/") if isinstance(part, bytes) else [part] for part in names]
    return [name for part in split for name in part if "/" not in name and "\0" not in name]


def are_packed(text: bytes, count: int, longest: int) -> bool:
    """A name has no slash, so these stand between."""
    names = text.split(b"/")
    return b"\0" not in text and len(names) == count and max(map(len, names)) <= longest


def every_way(name: str, literals: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The texts between *literals* in *name*; first the way in which the first of them is shortest, and so on."""
    if len(literals) == 1:
        return [()] if name == literals[0] else []
    if not name.startswith(literals[0]):
        return []
    found: list[tuple[str, ...]] = []
    rest = name[len(literals[0]) :]
    for end in range(len(rest) + 1):
        if len(literals) > 2:
            found += [(rest[:end], *more) for more in every_way(rest[end:], literals[1:])]
        elif rest[end:] == literals[1]:
            found.append((rest[:end],))
    return found


def text_of_plain(value: object) -> str | None:
    """The text in a name of a value for which nothing but its type decides; None for all others."""
    if type(value) is int:
        return str(value) if -(2**63) <= value < 2**63 else None
    return str(value) if type(value) in {str, float, bool, type(None)} else None


def rank_numbers(texts: list[str]) -> list[int] | None:
    if not all(re.fullmatch(NUMBER, text) for text in texts):
        return None
    order = sorted(range(len(texts)), key=lambda place: int(texts[place]))
    return [order.index(place) for place in range(len(texts))]


# ---------------------------------------------------------------------------------------------- _scan

MAX_DIGITS = 18
NUMBER = f"(?:0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})"


def scan_folder(folder: str, head: str, tails: tuple[str, ...], leftover: str) -> tuple[int, int]:
    if "\0" in folder:
        raise ValueError(folder)
    names = os.listdir(folder)
    patterns = [f"{re.escape(head)}({NUMBER}){re.escape(tail)}" for tail in tails]
    found = [re.fullmatch(pattern, name, re.DOTALL) for name in names for pattern in patterns]
    leftovers = sum(name.startswith(leftover) and name != leftover for name in names)
    return max((int(match[1]) for match in found if match), default=-1), leftovers


def index_series(
    names: list[str], before: str, after: str, most: int | None = None
) -> dict[tuple[str, str], int] | None:
    """Every start of a number in every name is tried."""
    highest: dict[tuple[str, str], int] = {}
    for name in names:
        for start in range(len(name)):
            number = re.compile(f"{NUMBER}(?![0-9])").match(name, start)
            if number is None or not name[:start].endswith(before) or not name.startswith(after, number.end()):
                continue
            series = name[:start], name[number.end() :]
            highest[series] = max(int(number[0]), highest.get(series, 0))
    return None if most is not None and len(highest) > most else highest


class Counter:
    def __init__(self, look: int, highest: int) -> None:
        self.look = look
        self.taken = self.saved = highest

    def take(self, look: int) -> int:
        """Only by the look that the numbers are from, else -1."""
        if look != self.look:
            return -1
        self.taken += 1
        return self.taken

    def give_back(self, number: int) -> bool:
        """Only the number that was taken last can be taken again."""
        is_last = number == self.taken > self.saved
        self.taken -= is_last
        return is_last

    def save(self, number: int, look: int) -> bool:
        """Only by the look that the numbers are from."""
        if look != self.look:
            return False
        self.saved = max(self.saved, number)
        self.taken = max(self.taken, number)
        return True


# ---------------------------------------------------------------------------------------------- _disk


class OpenFile:
    """An open file, closed at the latest with the last reference to it."""

    def __init__(self, path: str, flags: int, mode: int = 0o666, folder: int | None = None) -> None:
        self._fd = -1
        self._fd = os.open(path, flags, mode, dir_fd=folder)

    @property
    def fd(self) -> int:
        return self._fd

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def read_small(path: str, limit: int, spare: list[bytearray] | None = None) -> bytes | memoryview | None:
    if "\0" in path:
        raise ValueError(path)
    file = OpenFile(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    info = os.fstat(file.fd)
    most = limit if spare is None else max(limit, (1 << 20) + 1)
    if not stat.S_ISREG(info.st_mode) or info.st_size >= most:
        return None
    data = os.pread(file.fd, info.st_size, 0)
    if len(data) != info.st_size or not data:
        return None
    if spare is None or len(data) < limit:
        return data
    memory = spare.pop() if spare else bytearray()
    if len(memory) != (1 << 20) + 64:
        memory = bytearray((1 << 20) + 64)
    begin = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % 64
    memory[begin : begin + len(data)] = data
    return memoryview(memory)[begin : begin + len(data)]


def read_former(path: str, limit: int) -> tuple[bytes, int, int] | None:
    try:
        info = os.lstat(path)
        data = read_small(path, limit) if stat.S_ISREG(info.st_mode) else None
    except OSError:
        return None
    return (data, info.st_mode, info.st_uid) if isinstance(data, bytes) else None


@dataclass
class Stamp:
    """By what it is seen whether names in a folder came or went."""

    device: int = -1
    inode: int = -1
    changed_ns: int = -1
    size: int = -1

    @property
    def known(self) -> bool:
        return self.inode >= 0

    def is_unchanged(self, now: Stamp) -> bool:
        return self.known and now.known and self == now


UNKNOWN = Stamp()
CHANGED = Stamp(size=-2)


def write_unnamed(folder: str, data: bytes) -> OpenFile | None:
    if "\0" in folder:
        raise ValueError(folder)
    try:
        made = OpenFile(folder, os.O_TMPFILE | os.O_RDWR)
    except (FileNotFoundError, IsADirectoryError):
        return None
    os.write(made.fd, data)
    return made


def publish_unnamed(
    folder: str,
    target: str,
    data: bytes,
    stamped: bool,
    expected: Stamp | None = None,
    held: OpenFile | None = None,
    makes_folder: bool = False,
) -> Stamp | None:
    now = folder_stamp(folder) if held is None else stamp_of(os.fstat(held.fd))
    if stamped and expected is not None and (now is None or not expected.is_unchanged(now)):
        return CHANGED
    if makes_folder and os.path.isdir(os.path.dirname(folder)):
        os.makedirs(folder, exist_ok=True)
    made = write_unnamed(folder, data)
    if made is None:
        return None
    os.link(f"/proc/self/fd/{made.fd}", target, src_dir_fd=made.fd, follow_symlinks=True)
    if not stamped:
        return UNKNOWN
    after = folder_stamp(folder)
    if expected is None or after is None:
        return after
    vars(expected).update(vars(after))
    return expected


def replace_file(hidden: str, target: str, data: bytes, mode: int = -1, owner: int = 0) -> bool:
    with open(hidden, "xb") as file:
        file.write(data)
    if mode >= 0 and owner == os.geteuid():
        os.chmod(hidden, mode & 0o777)
    try:
        os.replace(hidden, target)
    except OSError:
        return False
    return True


def rename_exclusively(source: str, target: str) -> bool:
    """Two steps here, of which the first is exclusive."""
    os.link(source, target, follow_symlinks=False)
    os.unlink(source)
    return True


def sync_file_system(fd: int) -> bool:
    """All file systems here, that of *fd* among them."""
    os.fstat(fd)
    os.sync()
    return True


def reserve(fd: int, start: int, size: int) -> None:
    """A hint, of which neither the content nor the size of the file may tell."""


def folder_stamp(folder: str) -> Stamp | None:
    try:
        return stamp_of(os.stat(folder))
    except OSError:
        return None


def stamp_of(info: os.stat_result) -> Stamp:
    return Stamp(info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size)


def leads_to(path: str, device: int, inode: int) -> bool:
    if "\0" in path:
        raise ValueError(path)
    try:
        found = os.stat(path)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (device, inode)


# ---------------------------------------------------------------------------------------------- _pickling

ARRAY_CODES: dict[Any, tuple[Any, str]] = {}


def know_array_codes(codes: dict[Any, str]) -> None:
    for dtype, text in codes.items():
        ARRAY_CODES.setdefault(dtype, (dtype, text))


def reduce_array(array: Any, /) -> str | tuple[Any, ...]:
    dtype, text = ARRAY_CODES.get(array.dtype, (None, ""))
    if dtype is None and writes_memory(array):
        code = array.dtype if array.dtype.kind == "V" else array.dtype.str
        order = () if array.flags.c_contiguous else (0, None, "F")
        return type(array), (array.shape, code, pickle.PickleBuffer(array), *order)
    if dtype is None or (array.dtype is not dtype and array.dtype.metadata is not None):
        return array.__reduce_ex__(5)  # type: ignore[no-any-return]
    if array.flags.c_contiguous:
        return type(array), (array.shape, text, pickle.PickleBuffer(array))
    if array.flags.f_contiguous:
        return type(array), (array.shape, text, pickle.PickleBuffer(array), 0, None, "F")
    return array.__reduce_ex__(5)  # type: ignore[no-any-return]


def writes_memory(array: Any) -> bool:
    """Whether an array of another dtype than those that are known is written as a call with its memory."""
    dtype = array.dtype
    if dtype.hasobject or dtype.metadata is not None or dtype.isbuiltin == 2 or dtype.kind not in "USVbiufc":
        return False
    if dtype.kind == "V" and dtype.names is None and type(dtype).__module__ != "numpy.dtypes":
        return False
    try:
        memoryview(array)
    except ValueError:
        return False
    return bool(array.flags.c_contiguous or array.flags.f_contiguous)


def reduce_dtype(dtype: Any, /) -> str | tuple[Any, ...]:
    reduced: Any = dtype.__reduce_ex__(5)
    fields = [] if dtype.names is None else [dtype.fields[name] for name in dtype.names]
    has_titles = any(len(field) > 2 for field in fields)
    if not dtype.isalignedstruct or dtype.metadata is not None or has_titles or not isinstance(reduced[1][0], str):
        return reduced  # type: ignore[no-any-return]
    formats, offsets = [field[0] for field in fields], [field[1] for field in fields]
    spec = {"names": list(dtype.names), "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize}
    return reduced[0], (spec, True)


def reduce_object(obj: object, /) -> str | tuple[Any, ...]:
    return obj.__reduce_ex__(5)


class Reducers:
    """Reducers by type: ours, then those of ``copyreg``, then :func:`reduce_object`."""

    def __init__(self, registered: dict[Any, Any], package_of: Callable[[type], tuple[str, str] | None]) -> None:
        self.ours: dict[Any, Any] = {}
        self.registered = registered
        self.package_of = package_of

    def __len__(self) -> int:
        return len(self.ours)

    def __setitem__(self, kind: type, reducer: Callable[[Any], Any]) -> None:
        self.ours[kind] = reducer


class FirstChunk:
    """Holds one chunk below *limit* bytes; gives all that is more to what *begin_rest* returns.

    As a table of reducers it notes the packages of the classes that are not ours; then it holds the chunk as *noted*.
    """

    def __init__(self, limit: int, begin_rest: Callable[[], Any], reducers: Reducers) -> None:
        self.limit, self.begin_rest, self.reducers = limit, begin_rest, reducers
        self.first: bytes | None = None
        self.noted: bytes | None = None
        self.rest: Any = None
        self.packages: dict[str, str] | None = None

    def write(self, data: Any, /) -> None:
        held = self.first if self.noted is None else self.noted
        if self.rest is None and held is None and type(data) is bytes and len(data) < self.limit:
            self.first, self.noted = (data, None) if self.packages is None else (None, data)
            return
        if self.rest is None:
            self.rest = self.begin_rest()
            if held is not None:
                self.rest.write(held)
                self.first = self.noted = None
        self.rest.write(data)

    def dump(self, value: object, /) -> None:
        pickler = pickle.Pickler(self, 5)
        pickler.dispatch_table = self
        pickler.dump(value)

    def __getitem__(self, kind: type) -> Callable[[Any], Any]:
        if kind in self.reducers.ours:
            return self.reducers.ours[kind]
        found = self.reducers.registered.get(kind)
        if found is None and issubclass(kind, type):
            raise KeyError(kind)
        package = self.reducers.package_of(kind)
        if package is not None:
            self.packages = {**(self.packages or {}), package[0]: package[1]}
        return found or reduce_object


class PickleWriter:
    """Writes what a pickler gives to *target*, the memory of arrays at multiples of 64 bytes; holds the last chunk."""

    def __init__(
        self,
        target: Any,
        checksum: Callable[[Any, int], int],
        write_large: Callable[[Any, Any, int], int],
        at_once: int,
    ) -> None:
        self.target, self.checksum, self.write_large, self.at_once = target, checksum, write_large, at_once
        self.draft: Any = None
        self.held: bytes | None = None
        self.length = self.whole = self.structure = 0
        self.arrays: list[tuple[int, int, int, bool, tuple[int, ...], str]] = []

    def write(self, data: Any, /) -> None:
        held, self.held = self.held, None
        if type(data) is bytes:
            if held is not None:
                self._put(held)
            self.held = data
            return
        memory = data.raw() if isinstance(data, pickle.PickleBuffer) else memoryview(data).cast("B")
        size = len(memory)
        headers = [struct.pack("<BQ", 0x96, size), struct.pack("<BQ", 0x8E, size)]
        if size < 1 << 32:
            headers.append(struct.pack("<BI", 0x42, size))
        header = next((each for each in headers if held is not None and held.endswith(each)), None)
        if held is None or header is None or type(memory.obj) is not numpy.ndarray:
            if held is not None:
                self._put(held)
            self._put(memory)
            return
        before = held[: -len(header)]
        begin = self.length + len(before)
        filling = -(begin + 3 + len(header)) % 64
        self._put(before + b"C" + bytes([filling]) + bytes(filling) + b"0" + header)
        if not self.arrays:
            self.structure = self.whole
        writable = header == headers[0]
        self.arrays.append((begin, self.length, size, writable, memory.obj.shape, memory.obj.dtype.str))
        self._put(memory, is_array=True)

    def _put(self, data: Any, *, is_array: bool = False) -> None:
        self.length += len(data)
        if self.arrays and not is_array:
            self.structure = self.checksum(data, self.structure)
        if len(data) > self.at_once:
            self.whole = self.write_large(self.target, data, self.whole)
        else:
            self.whole = self.checksum(data, self.whole)
            self.target.write(data)


def is_sealed(data: Any, seal: bytes, checksum: Callable[[Any], int], /) -> bool:
    content = bytes(data)
    length = len(content) - len(seal) - 20
    if length < 1 or len(seal) < 8 or content[0] != 0x80:
        return False
    lengths = struct.pack("<QI", length, len(seal) - 8)
    if content[length:-8] != seal + lengths:
        return False
    return checksum(content[:-8]) == int.from_bytes(content[-8:-4], "little")


def begins_alike(data: Any, content: bytes, items: int, checksum: Callable[[Any], int], /) -> bool:
    """By the first items alone, each pickled in the memo of those before."""
    if len(content) < 28:
        return False
    card_bytes = int.from_bytes(content[-12:-8], "little")
    pickled = content[: max(0, len(content) - card_bytes - 28)]
    if not pickled or not is_sealed(data, content[len(pickled) : -20], checksum):
        return False
    theirs = bytes(data)[: -card_bytes - 28]
    ends = [_end_of_items(each, items) for each in (pickled, theirs)]
    return ends[0] is not None and ends[0] == ends[1] and pickled[11 : ends[0]] == theirs[11 : ends[0]]


def _end_of_items(pickled: bytes, items: int) -> int | None:
    """By the stack of :mod:`pickletools`: the last place where an object comes onto the stack after so many items."""
    if len(pickled) < 14 or pickled[:3] != b"\x80\x05\x95" or (pickled[11:12], pickled[13:14]) != (b"}", b"("):
        return None
    marks: list[int] = []
    depth, found = 0, None
    for opcode, _, at in pickletools.genops(pickled):
        assert at is not None
        if at < 14:
            continue
        if opcode.name == "MARK":
            marks.append(depth)
            continue
        if pickletools.markobject in opcode.stack_before:
            if not marks:
                return None if depth < 2 * items else at if depth == 2 * items else found
            depth = marks.pop()
            growth = opcode.name in ("TUPLE", "FROZENSET")
        else:
            growth = len(opcode.stack_after) - len(opcode.stack_before)
        if depth == 2 * items and growth == 1:
            found = at
        depth += growth
    return None
