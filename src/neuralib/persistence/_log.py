"""The log of the library. What it writes of files and their names can neither forge lines nor control a terminal."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

from neuralib.persistence._messages import shown

if TYPE_CHECKING:
    from collections.abc import Hashable

_MAX_ARGUMENT = 4000
_MOST_NOTED = 1000  # warnings of one class
_noted: weakref.WeakKeyDictionary[type, set[tuple[Hashable, ...]]] = weakref.WeakKeyDictionary()


class _Escaping(logging.Filter):
    """Makes every argument of a message that is no number a short printable text."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                argument if isinstance(argument, (int, float)) else shown(argument, str, _MAX_ARGUMENT)
                for argument in record.args
            )
        return True


log = logging.getLogger("neuralib.persistence")
log.addFilter(_Escaping())


def is_first(owner: type, *what: Hashable) -> bool:
    """Return whether this is the first call with *what* for the class *owner*, so that a warning is given once."""
    noted = _noted.setdefault(owner, set())
    if what in noted or len(noted) >= _MOST_NOTED:
        return False
    noted.add(what)
    return True
