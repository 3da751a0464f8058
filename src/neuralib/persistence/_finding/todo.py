"""Which of the results that are wanted are not there yet."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from neuralib.persistence import _core
from neuralib.persistence._classes.convert import as_dict, from_dict, replaced
from neuralib.persistence._classes.name_texts import text_of
from neuralib.persistence._classes.schema import GENERATED
from neuralib.persistence._errors import UnknownFieldError
from neuralib.persistence._finding.listing import Listing
from neuralib.persistence._finding.query import NOTHING_ASKED

if TYPE_CHECKING:
    from neuralib.persistence._classes.schema import PersistentClass
    from neuralib.persistence._keeping.keeper import Keeper

T = TypeVar("T")


def templates_of(info: PersistentClass[T], grid: Mapping[str, Any] | Iterable[T]) -> Iterator[T]:
    """Yield a template for each combination of the values in *grid*, the last key changing fastest; or *grid* itself.

    :raises UnknownFieldError: a name in *grid* is no key
    """
    if not isinstance(grid, Mapping):
        return iter(grid)
    values = cast("Mapping[str, Any]", grid)
    keys = tuple(it.field_name for it in info.key_fields())
    for name in values:
        if name not in keys:
            raise UnknownFieldError(info.persistence_cls.__qualname__, name, keys)
    cls = info.persistence_cls
    own_init = not hasattr(cls.__init__, GENERATED)
    choices = [
        list(it) if isinstance(it, Iterable) and not isinstance(it, (str, bytes)) else [it] for it in values.values()
    ]
    combinations = (dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*choices))
    return (from_dict(cls, it) if own_init else cls(**it) for it in combinations)


def missing_of(keeper: Keeper[T], templates: Iterable[T], repeat: int) -> Iterator[T]:
    """Yield those of *templates* that have no result in the store of *keeper*, in their order: see ``todo``."""
    there = _There(keeper)
    for template in templates:
        autoinc = keeper.info.layout.autoinc
        if autoinc is None or getattr(template, autoinc, None) is not None:
            if not there.has(template):
                yield template
            continue
        lacking = repeat - there.repetitions(template)
        there.note(template, max(lacking, 0))
        for number in range(lacking):
            yield template if number == 0 else replaced(template, {})


class _There:
    """What is in the folder when the first template is asked for."""

    def __init__(self, keeper: Keeper[Any]) -> None:
        self._keeper = keeper
        self._listing = Listing(keeper, NOTHING_ASKED)
        table = self._listing.table
        self._rows = {name: row for row, name in enumerate(table.names)}
        self._series: Counter[Any] | None = None

    def has(self, template: Any) -> bool:
        """Return whether there is a result with the keys in the name of *template*, and its validated keys."""
        listing = self._listing
        row = self._rows.get(self._keeper.names.name(template))
        if row is None:
            return False
        info = self._keeper.info
        outside = [it for it in info.key_fields() if it.validator is not False and it.field_name not in listing.columns]
        if not outside and not listing.table.doubtful(row):
            return True
        try:
            stored = listing.stored(row, [it.field_name for it in outside])
        except FileNotFoundError:
            return False
        return is_result_of(info, template, stored)

    def repetitions(self, template: Any) -> int:
        """Return how many results there are that differ from *template* in their number only."""
        if self._series is None:
            rows = list(range(len(self._listing)))
            self._series = Counter(series for series, _ in self._listing.series(rows))
        return self._series[self._listing.series_of(as_dict(template))]

    def note(self, template: Any, count: int) -> None:
        """Take account of *count* more."""
        if self._series is not None:
            self._series[self._listing.series_of(as_dict(template))] += count


def is_result_of(info: PersistentClass[Any], template: Any, stored: dict[str, Any]) -> bool:
    """Return whether the keys in *stored*, the fields of a file, are those of *template*: in the name, and the validated."""
    wanted = as_dict(template)
    for it in info.key_fields():
        mine, theirs = wanted.get(it.field_name), stored.get(it.field_name)
        if it.filename and text_of(it, mine) != text_of(it, theirs):
            return False
        if not it.filename and it.validator is not False and not it.validate(mine, theirs):
            return False
    return True


def is_there(keeper: Keeper[Any], template: Any) -> bool:
    """Return whether there is a result of the keys of *template* by now; one with an open number never is."""
    info = keeper.info
    if not _core.is_numbered(info.layout, template, None):
        return False
    store, name = keeper.place_of(template)
    if not store.has(name):
        return False
    keys = [field.field_name for field in info.key_fields()]
    return is_result_of(info, template, keeper.records.fields(store, name, keys))
