"""Which of the wanted results are missing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from neuralib.persistence import _core
from neuralib.persistence._classes.convert import as_dict, from_dict, replaced
from neuralib.persistence._classes.evolution import refuse_unknown
from neuralib.persistence._classes.schema import GENERATED
from neuralib.persistence._finding.former import warn_of_former_names
from neuralib.persistence._finding.listing import Listing
from neuralib.persistence._finding.query import NOTHING_ASKED
from neuralib.persistence._finding.series import KeyIndex
from neuralib.persistence._naming.equal import is_key

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
    refuse_unknown(info, values, [declared.field_name for declared in info.key_fields()])
    cls = info.persistence_cls
    own_init = not hasattr(cls.__init__, GENERATED)
    choices = [
        list(given) if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else [given]
        for given in values.values()
    ]
    combinations = (dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*choices))
    return (from_dict(cls, chosen) if own_init else cls(**chosen) for chosen in combinations)


def missing_of(
    keeper: Keeper[T], templates: Iterable[T], repeat: int, share: tuple[int, int], *, numbered: bool
) -> Iterator[T]:
    """Yield those of *templates* that have no result in the store of *keeper*, in their order: see ``todo``.

    Which task a wanted result belongs to depends on its place among all that are wanted, and a repetition's place on its
    number: tasks that look at different times therefore leave nothing out. The numbers that lack are the lowest free ones,
    of which each save takes one away and adds none.

    :param share: see :func:`~neuralib.persistence._finding.shares.share_of`
    :param numbered: give repetitions their numbers even where one task does all
    """
    there = _There(keeper)
    autoinc = keeper.info.layout.autoinc
    own, tasks = share
    numbered = numbered or tasks > 1
    place = 0  # among all that are wanted
    for template in templates:
        if autoinc is None or getattr(template, autoinc, None) is not None:
            if place % tasks == own and not there.has(template):
                yield template
            place += 1
            continue
        for turn, number in enumerate(there.take_free_numbers(template, repeat)):
            if numbered:
                if (place + number) % tasks == own:
                    yield replaced(template, {autoinc: number})
            else:
                yield template if turn == 0 else replaced(template, {})
        place += repeat


class _There:
    """What is in the folder when the first template is asked for."""

    def __init__(self, keeper: Keeper[Any]) -> None:
        self._keeper = keeper
        self._listing = Listing(keeper, NOTHING_ASKED)
        self._index = KeyIndex(self._listing)
        self._rows: dict[str, int] | None = None  # by name
        self._outside = [
            declared.field_name
            for declared in keeper.info.key_fields()
            if declared.validator is not False and declared.field_name not in self._listing.columns
        ]
        self._names_tell = not self._outside and not self._listing.table.any_doubtful
        self._numbers: dict[Any, set[int]] | None = None
        self._has_warned = False

    def has(self, template: Any) -> bool:
        """Return whether there is a result with the keys in the name of *template*, and its validated keys."""
        if self._rows is None:
            self._rows = {name: row for row, name in enumerate(self._listing.table.all_names())}
        row = self._rows.get(self._keeper.names.name(template))
        if row is not None and self._names_tell:
            return True
        rows = self._index.rows_of(template) if row is None else [row]
        found = any(self._is_of(row, template) for row in rows)
        if not found:
            self._warn_of_former_names()
        return found

    def _warn_of_former_names(self) -> None:
        if not self._has_warned:  # asking the log for each of many templates would take longer
            self._has_warned = True
            warn_of_former_names(self._keeper)

    def _is_of(self, row: int, template: Any) -> bool:
        if not self._outside and not self._listing.table.doubtful(row):
            return True
        try:
            stored = self._listing.stored(row, self._outside)
        except FileNotFoundError:
            return False
        return is_result_of(self._keeper.info, template, stored)

    def take_free_numbers(self, template: Any, repeat: int) -> list[int]:
        """Return the lowest free numbers that lack until there are *repeat* results like *template*; they count as taken."""
        if self._numbers is None:
            self._numbers = self._index.numbers()
        taken = self._numbers.setdefault(self._index.series_of(as_dict(template)), set())
        for series in self._index.equal_series(template):
            taken.update(self._numbers.get(series, ()))
        free = (number for number in itertools.count() if number not in taken)
        lacking = list(itertools.islice(free, max(repeat - len(taken), 0)))
        if lacking:
            self._warn_of_former_names()
        taken.update(lacking)
        return lacking


def is_result_of(info: PersistentClass[Any], template: Any, stored: dict[str, Any]) -> bool:
    """Return whether the keys in *stored*, the fields of a file, are those of *template*: in the name, and the validated."""
    wanted = as_dict(template)
    for declared in info.key_fields():
        mine, theirs = wanted.get(declared.field_name), stored.get(declared.field_name)
        if declared.filename and not is_key(declared, mine, theirs):
            return False
        if not declared.filename and declared.validator is not False and not declared.validate(mine, theirs):
            return False
    return True


def is_there(keeper: Keeper[Any], template: Any) -> bool:
    """Return whether there is a result under the name of *template* by now; one with an open number never is.

    Names of equal keys are not looked for: :func:`missing_of` did that. This is for what another process saved since, which
    computes the same templates.
    """
    info = keeper.info
    if not _core.is_numbered(info.layout, template, None):
        return False
    store, name = keeper.place_of(template)
    if not store.has(name):
        return False
    keys = [field.field_name for field in info.key_fields()]
    return is_result_of(info, template, keeper.readable_fields(store, name, keys))
