"""What is in a file: whether it is whole, and its values, by the closed list or as they are where the user trusts it."""

from __future__ import annotations

from typing import Any

from neuralib.persistence._classes.schema import INFO
from neuralib.persistence._codecs.pickles import PickleCodec, compression_of
from neuralib.persistence._errors import NotAResultError
from neuralib.persistence._keeping.reading import opened
from neuralib.persistence._packages import missing_here
from neuralib.persistence._stores.paths import PATHS
from neuralib.persistence._trust.untrusted import Reader


def check(path: str) -> tuple[bool, int, list[str]]:
    """Read the file *path* to its end.

    :return: whether a checksum says that it is what was saved, its size in bytes, and which packages that it needs are
        not installed here
    :raises PersistenceError: it is damaged, or no result
    """
    codec = PickleCodec()
    with opened(PATHS, path) as source:
        return codec.check(source), source.size, missing_here(codec.packages(source))


def compression_name(path: str) -> str:
    """Return how the file *path* is compressed; an empty text where it is not."""
    with opened(PATHS, path) as source:
        compression = compression_of(source.read_at(4, 0))
    return "" if compression is None else compression.name


def fields_of(path: str, *, trusted: bool) -> dict[str, Any]:
    """Return the fields of the result file *path*, arrays included.

    :param trusted: load any Python object, which can run code; else plain data and arrays only
    :raises UntrustedTypeError: it holds something else, and is not trusted
    :raises PersistenceError: it is damaged, or no result
    """
    with opened(PATHS, path) as source:
        found = PickleCodec().decode(source, trust=None if trusted else Reader([]))
    if isinstance(found, dict) and all(isinstance(name, str) for name in found):
        return found
    if hasattr(type(found), INFO):
        return dict(vars(found))
    raise NotAResultError("any persistence class", path, f"a {type(found).__qualname__}")
