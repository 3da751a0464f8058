"""Ready-made checks for results: their date, whether all fields are set, and whether results can be combined."""

from __future__ import annotations

import abc
import datetime
import os
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._equality import same_value
from neuralib.persistence._log import log
from neuralib.persistence._messages import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    Moment = float | str | os.PathLike[str] | tuple[int, int, int] | datetime.date | datetime.datetime

T = TypeVar("T")


class PersistenceConcatError(ValueError):
    """The results of several imaging planes can't be combined."""


class ETLConcatable(Generic[T], metaclass=abc.ABCMeta):
    """Mix-in for classes that can combine the results of several imaging planes."""

    @abc.abstractmethod
    def concat_etl(self, data: list[T]) -> T:
        """Combine *data*, the results of all planes, into one result."""


def create_date_validate(obj: Moment, ref: Moment, verbose: bool = True) -> bool:
    """Return whether *obj* is as new as *ref* or newer.

    :param obj: a time stamp in seconds since 1970, a date, a ``(year, month, day)`` tuple, or the path of a file. The
        date of a file is the time of its last change.
    :param ref: the same
    :param verbose: log the reason if the answer is False
    :return: False if *obj* is older than *ref*, or if a file does not exist
    :raises TypeError: *obj* or *ref* is none of these
    """
    try:
        created, limit = _time_of(obj), _time_of(ref)
    except FileNotFoundError as error:
        if verbose:
            log.warning("can't compare dates: %s does not exist", error.filename)
        return False
    if created >= limit:
        return True
    if verbose:
        log.warning("the result is too old: it is from %s, before %s", created, limit)
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
        f"{shown(moment)} is not a date: expected seconds, a date, a (year, month, day) tuple or the path of a file, "
        f"not a {type(moment).__name__}"
    )


def attributes_validate(obj: object, *exclude: str) -> bool:
    """Return whether all fields of the result *obj* are set. Ignore fields with a default and those in *exclude*.

    :raises NotPersistenceClassError: *obj* is not a result
    """
    fields = ensure_persistence_class(obj).fields
    return all(field.optional or field.field_name in exclude or hasattr(obj, field.field_name) for field in fields)


def validate_concat_etl_persistence(data: Sequence[Any], field_check: Sequence[str] | None = None) -> None:
    """Check that the results in *data*, one for each imaging plane, can be combined.

    All results must have an integer ``plane_index``, and the same ``exp_date``, ``animal`` and fields *field_check*.
    Arrays, sequences and dicts are compared as a whole, and NaN equals NaN.

    :raises PersistenceConcatError: *data* is empty, or the results differ. The message names the field and the values.
        This is a :class:`ValueError`.
    :raises RuntimeError: a result has no ``exp_date`` or no ``animal``
    :raises AttributeError: a result has no ``plane_index``
    :raises TypeError: a ``plane_index`` is not an int
    """
    if len(data) == 0:
        raise PersistenceConcatError("there are no results to combine")
    first = data[0]
    for result in data:
        _check_plane(result)
    for name in ("exp_date", "animal", *(field_check or ())):
        expected = getattr(first, name)
        for result in data[1:]:
            found = getattr(result, name)
            if not same_value(expected, found):
                raise PersistenceConcatError(
                    f"results of different {name} can't be combined: {shown(expected)} and {shown(found)}"
                )


def _check_plane(result: Any) -> None:
    for name in ("exp_date", "animal"):
        if not hasattr(result, name):
            raise RuntimeError(f"results of {type(result).__name__} can't be combined: they have no {name}")
    if not hasattr(result, "plane_index"):
        raise AttributeError(f"{shown(result)} has no plane_index")
    if not isinstance(result.plane_index, int):
        raise TypeError(f"{type(result).__name__}.plane_index must be an int, not {shown(result.plane_index)}")
