"""The head of a result file: its fields as far as they are plain data, and what the others are; without trust.

Nothing of the file's choosing is imported or run: a closed list of types becomes plain data, and stand-ins describe everything else:
:class:`ArrayHead` of arrays, which are not read, and :class:`ObjectHead` of all other objects. So it takes a fraction of a
millisecond however large the arrays are, and needs no class that can be imported.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._codecs.pickles import PickleCodec
from neuralib.persistence._keeping.reading import FAILURES, raise_explained
from neuralib.persistence._showing.previews import MAX_REPR_CHARS, value_text
from neuralib.persistence._stores.paths import PATHS
from neuralib.persistence._stores.system import home_expanded

if TYPE_CHECKING:
    from collections.abc import Collection

    from neuralib.persistence._codecs.card import Card

_CODEC = PickleCodec()


class FileHead(NamedTuple):
    """What is in a result file: see :func:`read_head`."""

    path: Path
    fields: dict[str, Any]
    """By name, in the order of the file: plain data, :class:`ArrayHead`, :class:`ObjectHead`."""
    type_name: str | None
    """The class of the result, where the pickle says it: the oldest files do."""
    size_bytes: int
    """Of the file."""
    compressed: bool
    complete: bool
    """Whether these are all fields: False where only some were asked for, or the file has too much in it to look at."""
    card: Card | None = None
    """What the file says of itself: its class, keys and fields, units. None for files of other programs."""

    def __repr__(self) -> str:
        return f"<FileHead of {os.fspath(self.path)!r}: {value_text(self.fields, MAX_REPR_CHARS)}>"


def read_head(path: str | os.PathLike[str], names: Collection[str] | None = None) -> FileHead:
    """Return what is in the result file *path*, without trusting it and without reading its large arrays.

    Not a check of the file: of what is not read, damage does not show. Of a file with a card, all that is read is checked.

    :param names: the fields that are needed, where these are not all: reading may end when they are found
    :raises FileNotFoundError: there is no such file
    :raises CorruptResultError: the file is damaged, or no result file
    :raises NotAResultError: the file holds something else
    """
    text = home_expanded(path)
    try:  # what opened() does, at less cost for each of many heads
        with PATHS.open(text) as source:
            head = _CODEC.head(source, names)
            size = source.size
    except FAILURES as error:
        raise_explained(error, PATHS, text)
    card = head.card if head.card is not None and head.card.qualname else None  # a codec alone writes one of no class
    return FileHead(Path(text), head.fields, head.type_name, size, head.compressed, head.complete, card)
