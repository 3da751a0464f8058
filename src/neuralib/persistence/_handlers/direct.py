"""One result and one file, without making a handler: ``save``, ``load``, ``load_by``."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from neuralib.persistence._handlers.pickles import PickleHandler

if TYPE_CHECKING:
    from collections.abc import Collection

T = TypeVar("T")

_MOST_KEPT = 16  # handlers


def save(data: object, path: str | os.PathLike[str], *, durable: bool = False) -> None:
    """Save the result *data* as the pickle file *path*; a file of that name is replaced, in one step.

    :param durable: return only when the file would survive a loss of power
    :raises NotPersistenceClassError: *data* is no result
    :raises AutoIncFieldNotResolvedError: its auto-increment key has no number
    """
    _handler_for(type(data), path, durable=durable).save_persistence(data, path)


def load(
    data_cls: type[T],
    path: str | os.PathLike[str],
    *,
    mmap_mode: Literal["r", "c"] | None = None,
    trusted: bool | Collection[type] = True,
) -> T:
    """Load a result of *data_cls* from the pickle file *path*.

    :param mmap_mode: map large arrays into memory instead of reading them: see :class:`PickleHandler`
    :param trusted: whether the file may hold any Python object, or plain data only: see :class:`PickleHandler`
    :raises FileNotFoundError: there is no such file
    :raises CorruptResultError: the file is damaged, or no result file
    :raises UnloadableResultError: the file is whole, but something in it can't be loaded here
    :raises NotAResultError: the file holds something else
    :raises UntrustedTypeError: the file holds something that *trusted* does not admit
    """
    handler: PickleHandler[T] = _handler_for(data_cls, path, mmap_mode=mmap_mode, trusted=trusted)
    return handler.load_persistence(path)


def _handler_for(data_cls: Any, path: str | os.PathLike[str], **options: Any) -> PickleHandler[Any]:
    """Return a handler for *path*: of files and archives, one that serves all results of *data_cls*.

    To compose one takes longer than to read a small file.
    """
    place = os.path.dirname(os.fspath(path))
    if "://" not in place and all(value is None or type(value) is bool for value in options.values()):
        return _handler_anywhere(data_cls, **options)
    return PickleHandler(data_cls, place, **options)  # which refuses what its store can't do


@functools.lru_cache(maxsize=_MOST_KEPT)
def _handler_anywhere(data_cls: Any, **options: Any) -> PickleHandler[Any]:
    return PickleHandler(data_cls, os.sep, **options)  # no result goes to this folder: each has a path


def load_by(data_cls: type[T], path: str | os.PathLike[str], **kwargs: Any) -> T:
    """Load the result of *data_cls* with the keys *kwargs* from the pickle files in the folder *path*.

    :raises FileNotFoundError: there is no such file
    """
    return PickleHandler(data_cls, path).load_persistence(kwargs)
