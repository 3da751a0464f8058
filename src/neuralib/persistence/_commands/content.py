"""What is in a file: its head without trust; its values by the closed list, or as they are where the user trusts it."""

from __future__ import annotations

from typing import Any

from neuralib.persistence._classes.decorator import persistence_class
from neuralib.persistence._classes.schema import INFO, ensure_persistence_class
from neuralib.persistence._codecs.pickles import PickleCodec, compression_of
from neuralib.persistence._errors import NotAResultError
from neuralib.persistence._handlers.pickles import reader_for
from neuralib.persistence._keeping.reading import FAILURES, raise_explained
from neuralib.persistence._keeping.records import CodecRecords
from neuralib.persistence._stores.paths import PATHS


@persistence_class
class _Any:
    """Stands for the class of a result, where what is asked of a file needs none."""


_INFO = ensure_persistence_class(_Any)


def check(path: str) -> bool:
    """Read the file *path* to its end; return whether a checksum says that it is what was saved.

    :raises PersistenceError: it is damaged, or no result
    """
    return CodecRecords(_INFO, PickleCodec()).check(PATHS, path)


def fields_of(path: str, *, trusted: bool) -> dict[str, Any]:
    """Return the fields of the result file *path*, arrays included.

    :param trusted: load any Python object, which can run code; else plain data and arrays only
    :raises UntrustedTypeError: it holds something else, and is not trusted
    :raises PersistenceError: it is damaged, or no result
    """
    try:
        with PATHS.open(path) as source:
            found = PickleCodec().decode(source, trust=reader_for(_INFO, trusted))
    except FAILURES as error:
        raise_explained(error, PATHS, path)
    if isinstance(found, dict) and all(isinstance(name, str) for name in found):
        return found
    if hasattr(type(found), INFO):
        return dict(vars(found))
    raise NotAResultError("any persistence class", path, f"a {type(found).__qualname__}")


def compression_name(path: str) -> str:
    """Return how the file *path* is compressed; an empty text where it is not."""
    with PATHS.open(path) as source:
        compression = compression_of(source.read_at(4, 0))
    return "" if compression is None else compression.name
