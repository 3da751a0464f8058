"""Ready-made checks for results: when they were made, whether they are complete, whether they can be put together."""

from __future__ import annotations

import abc
import datetime
import logging
import os
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    Moment = float | str | os.PathLike[str] | tuple[int, int, int] | datetime.date | datetime.datetime

T = TypeVar("T")

_log = logging.getLogger("neuralib.persistence")


class PersistenceConcatError(ValueError):
    """Results of several planes do not belong together."""


class ETLConcatable(Generic[T], metaclass=abc.ABCMeta):
    """Mix-in of what can put the results of several imaging planes together."""

    @abc.abstractmethod
    def concat_etl(self, data: list[T]) -> T:
        """Return one result for *data*, the results of the planes."""


def create_date_validate(obj: Moment, ref: Moment, verbose: bool = True) -> bool:
    """Return whether *obj* was made at the time of *ref* or later.

    :param obj: a time stamp in seconds since 1970, a date, a ``(year, month, day)``, or the path of a file, whose time
        of change counts
    :param ref: the same
    :param verbose: log why the answer is False
    :return: False where *obj* is older, and where a file is not there
    :raises TypeError: *obj* or *ref* is nothing of the kind
    """
    try:
        made, limit = _time_of(obj), _time_of(ref)
    except FileNotFoundError as error:
        if verbose:
            _log.warning("there is no file %s to compare the dates of", error.filename)
        return False
    if made >= limit:
        return True
    if verbose:
        _log.warning("the result of %s was made before %s", made, limit)
    return False


def _time_of(moment: Any) -> datetime.datetime:
    if isinstance(moment, datetime.datetime):
        return moment if moment.tzinfo is None else moment.astimezone().replace(tzinfo=None)
    if isinstance(moment, datetime.date):
        return datetime.datetime.combine(moment, datetime.time.min)
    if isinstance(moment, (float, int)) and not isinstance(moment, bool):
        return datetime.datetime.fromtimestamp(moment)  # noqa: DTZ006 - file times are compared in local time
    if isinstance(moment, tuple):
        return datetime.datetime(*moment[:3])  # noqa: DTZ001
    if isinstance(moment, (str, os.PathLike)):
        return datetime.datetime.fromtimestamp(os.stat(moment).st_mtime)  # noqa: DTZ006
    raise TypeError(
        f"{shown(moment)} is no moment: give seconds, a date, a (year, month, day) or the path of a file, "
        f"not a {type(moment).__name__}"
    )


def attributes_validate(obj: object, *exclude: str) -> bool:
    """Return whether every field of the result *obj* is set, but for those with a default and those in *exclude*.

    :raises NotPersistenceClassError: *obj* is no result
    """
    fields = ensure_persistence_class(obj).fields
    return all(it.optional or it.field_name in exclude or hasattr(obj, it.field_name) for it in fields)


def validate_concat_etl_persistence(data: Sequence[Any], field_check: Sequence[str] | None = None) -> None:
    """Check that *data*, results of several imaging planes, belong together.

    All must have an integer ``plane_index``, one ``exp_date`` and one ``animal``, and agree in the fields *field_check*
    (arrays, sequences and dicts as a whole, NaN like NaN).

    :raises PersistenceConcatError: they do not (a :class:`ValueError`); it names the field and the values
    :raises RuntimeError: they have no ``exp_date`` or ``animal``
    :raises AttributeError: one has no ``plane_index``
    :raises TypeError: a ``plane_index`` is not an int
    """
    if len(data) == 0:
        raise PersistenceConcatError("there are no results to put together")
    first = data[0]
    for it in data:
        _check_plane(it)
    for name in ("exp_date", "animal", *(field_check or ())):
        expected = getattr(first, name)
        for it in data[1:]:
            found = getattr(it, name)
            if not same_value(expected, found):
                raise PersistenceConcatError(
                    f"results of different {name} can't be put together: {shown(expected)} and {shown(found)}"
                )


def _check_plane(it: Any) -> None:
    for name in ("exp_date", "animal"):
        if not hasattr(it, name):
            raise RuntimeError(f"results of {type(it).__name__} can't be put together: they have no {name}")
    if not hasattr(it, "plane_index"):
        raise AttributeError(f"{shown(it)} has no plane_index")
    if not isinstance(it.plane_index, int):
        raise TypeError(f"{type(it).__name__}.plane_index must be an int, not {shown(it.plane_index)}")
