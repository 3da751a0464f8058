"""What is in a file: its head without trust; its values by the closed list, or as they are where the user trusts it."""

from __future__ import annotations

import os
from typing import Any

from neuralib.persistence._classes.decorator import persistence_class
from neuralib.persistence._classes.schema import INFO
from neuralib.persistence._codecs.reading import FAILURES, opened, raise_explained
from neuralib.persistence._errors import NotAResultError
from neuralib.persistence._handlers.pickles import PickleHandler


@persistence_class
class _Any:
    """Stands for the class of a result, where what is asked of a file needs none."""


def checker() -> PickleHandler[Any]:
    """Return a handler for files of any class: it can check them, and read what is in them."""
    return PickleHandler(_Any, os.curdir)


def fields_of(path: str, *, trusted: bool) -> dict[str, Any]:
    """Return the fields of the result file *path*, arrays included.

    :param trusted: load any Python object, which can run code; else plain data and arrays only
    :raises UntrustedTypeError: it holds something else, and is not trusted
    :raises PersistenceError: it is damaged, or no result
    """
    handler = PickleHandler(_Any, os.curdir, trusted=trusted)
    try:
        found = opened(path, handler._read_open)
    except FAILURES as error:
        raise_explained(error, path)
    if isinstance(found, dict) and all(isinstance(it, str) for it in found):
        return found
    if hasattr(type(found), INFO):
        return dict(vars(found))
    raise NotAResultError("any persistence class", path, f"a {type(found).__qualname__}")
