"""The head of a result file: its fields as far as they are plain data, and what the others are; without trust.

Nothing of the file's choosing is imported or run: the closed list of :mod:`plain_data` makes plain data, and stand-ins
tell of everything else: :class:`ArrayHead` of arrays, which are not read, and :class:`ObjectHead` of all other objects.
So it takes a fraction of a millisecond however large the arrays are, and needs no class that can be imported.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence import _disk
from neuralib.persistence._codecs import framed_reader, frames
from neuralib.persistence._codecs.pread import read_at
from neuralib.persistence._codecs.reading import FAILURES, opened, raise_explained, refuse_special_file
from neuralib.persistence._errors import NotAResultError
from neuralib.persistence._trust.inflated import Inflated
from neuralib.persistence._trust.outline import outline
from neuralib.persistence._trust.stand_ins import ObjectHead

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from neuralib.persistence._trust.instructions import Tape

_GZIP_MAGIC = b"\x1f\x8b"


class FileHead(NamedTuple):
    """What is in a result file: see :func:`read_head`."""

    path: Path
    fields: dict[str, Any]
    """By name, in the order of the file: plain data, :class:`ArrayHead`, :class:`ObjectHead`."""
    type_name: str | None
    """The class of the result, where the file says it: the oldest files do."""
    size_bytes: int
    """Of the file."""
    compressed: bool
    complete: bool
    """Whether these are all fields: False where only some were asked for, or the file has too much in it to look at."""


def read_head(path: str | os.PathLike[str], names: Collection[str] | None = None) -> FileHead:
    """Return what is in the result file *path*, without trusting it and without reading its large arrays.

    Not a check of the file: of what is not read, damage does not show. Of a large file with a checksum, all that is read
    is checked.

    :param names: the fields that are needed, where these are not all: reading may end when they are found
    :raises FileNotFoundError: there is no such file
    :raises CorruptResultError: the file is damaged, or no result file
    :raises NotAResultError: the file holds something else
    """
    text = os.fspath(path)
    wanted = None if names is None else frozenset(names)
    try:
        data = _disk.read_small(text, frames.AT_ONCE)
        found = opened(text, lambda fd: _head_of_open(fd, wanted)) if data is None else _head_of_bytes(data, wanted)
    except FAILURES as error:
        raise_explained(error, text)
    fields, type_name, complete, size, compressed = found
    if isinstance(fields, str):
        raise NotAResultError("any persistence class", text, fields)
    if wanted is not None:
        fields = {name: value for name, value in fields.items() if name in wanted}
    return FileHead(Path(text), fields, type_name, size, compressed, complete)


def _head_of_bytes(data: bytes, wanted: frozenset[str] | None) -> tuple[Any, ...]:
    if not data:
        raise EOFError("it is empty")
    if data.startswith(_GZIP_MAGIC):
        return *_looked_at(Inflated([data]), (), wanted), len(data), True
    framed_reader.refuse_damage(data)
    return *_looked_at(data, (), wanted), len(data), False


def _head_of_open(fd: int, wanted: frozenset[str] | None) -> tuple[Any, ...]:
    size = refuse_special_file(fd)
    start = read_at(fd, len(_GZIP_MAGIC), 0)
    if start == _GZIP_MAGIC:
        return *_looked_at(Inflated(iter(lambda: os.read(fd, frames.AT_ONCE), b"")), (), wanted), size, True
    if not start:
        raise EOFError("it is empty")
    outline = framed_reader.outline_of(fd)
    if outline is not None:
        structure, sizes = outline
        return *_looked_at(structure, sizes, wanted), size, False
    with io.FileIO(fd, closefd=False) as file:
        return *_looked_at(file, (), wanted), size, False


def _looked_at(
    source: bytes | Tape, sizes: Iterable[int], wanted: frozenset[str] | None
) -> tuple[Any, str | None, bool]:
    """Return the fields of the pickle in *source*, the name of its class, and whether these are all fields.

    In place of the fields, a text says what there is instead of a result.
    """
    root, fields, complete = outline(source, sizes, wanted)
    if isinstance(root, ObjectHead) and root.arguments is not None:
        return (root.fields if complete else fields), root.type_name, complete
    if not isinstance(root, dict):
        return f"a {type(root).__qualname__}" if not isinstance(root, ObjectHead) else repr(root), None, True
    if not complete:
        return fields, None, False
    if not all(type(name) is str for name in root):
        return "a dict whose keys are no names of fields", None, True
    return root, None, True
