"""One result and one file, without making a handler: ``save``, ``load``, ``load_by``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from neuralib.persistence._handlers.pickles import PickleHandler

if TYPE_CHECKING:
    from collections.abc import Collection

T = TypeVar("T")


def save(data: object, path: str | os.PathLike[str], *, durable: bool = False) -> None:
    """Save the result *data* as the pickle file *path*; a file of that name is replaced, in one step.

    :param durable: return only when the file would survive a loss of power
    :raises NotPersistenceClassError: *data* is no result
    :raises AutoIncFieldNotResolvedError: its auto-increment key has no number
    """
    PickleHandler(type(data), os.path.dirname(os.fspath(path)), durable=durable).save_persistence(data, path)


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
    :raises NotAResultError: the file holds something else
    :raises UntrustedTypeError: the file holds something that *trusted* does not admit
    """
    handler = PickleHandler(data_cls, os.path.dirname(os.fspath(path)), mmap_mode=mmap_mode, trusted=trusted)
    return handler.load_persistence(path)


def load_by(data_cls: type[T], path: str | os.PathLike[str], **kwargs: Any) -> T:
    """Load the result of *data_cls* with the keys *kwargs* from the pickle files in the folder *path*.

    :raises FileNotFoundError: there is no such file
    """
    return PickleHandler(data_cls, path).load_persistence(kwargs)
