"""The return value of :meth:`PersistenceHandler.find`: an immutable sequence of results that load on demand."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from neuralib.persistence._classes.convert import as_dict
from neuralib.persistence._classes.evolution import refuse_unknown
from neuralib.persistence._classes.field import unit_of
from neuralib.persistence._errors import NothingFoundError, PersistenceError
from neuralib.persistence._finding import checking, deleting, stacks, tables
from neuralib.persistence._finding.former import warn_of_former_names
from neuralib.persistence._finding.listing import Listing
from neuralib.persistence._finding.query import Conditions, of_keys
from neuralib.persistence._finding.series import KeyIndex
from neuralib.persistence._naming.equal import equal_names
from neuralib.persistence._showing.previews import cell_text, moment_of, size_text
from neuralib.persistence._stores.base import stat_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuralib.persistence._finding.checking import FileCheck
    from neuralib.persistence._keeping.keeper import Keeper
    from neuralib.persistence._stores.base import Stat

_MOST_SHOWN = 10  # hits in a notebook
_MOST_ADDED_UP = 10_000  # hits whose sizes are added up for it: each takes a system call

T = TypeVar("T")


class Hit(Generic[T]):
    """One result that was found: where it is and which keys it has. It is not loaded before :meth:`load`."""

    __slots__ = ("_listing", "_row")

    def __init__(self, listing: Listing, row: int) -> None:
        self._listing, self._row = listing, row

    def __repr__(self) -> str:
        return f"Hit({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hit) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._listing.name(self._row)

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self._listing.store.path(self.name)  # type: ignore[return-value]  # of a folder, the only store with files

    @property
    def keys(self) -> dict[str, Any]:
        """The keys that show in the name, as values of their annotations.

        The file's head is read where the name does not tell them: where it can be read in more than one way, where the
        class makes the text by a function of its own, or where an annotation says too little.

        :raises KeyMismatchError: the head had to be read, and belongs to a result of another name
        """
        return self._listing.keys(self._row)

    def load(self) -> T:
        """Load the result.

        :raises FileNotFoundError: it was deleted since it was found
        :raises KeyMismatchError: the file holds a result that belongs under another name
        :raises CorruptResultError: the file is damaged, or no result file
        :raises UnloadableResultError: the file is whole, but something in it can't be loaded here
        """
        keeper: Keeper[T] = self._listing.keeper
        result = keeper.load(self._listing.store, self.name)
        if not keeper.is_named(result, self.name):
            self._listing.refuse_name_mismatch(self._row, as_dict(result))
        return result

    def fields(self, *names: str) -> dict[str, Any]:
        """Return those of the fields *names* that the result has, without loading its arrays.

        A large array is shown by a stand-in with ``shape``, ``dtype`` and ``size_bytes``. A file of less than 64 KiB is
        unpickled whole, as far as the handler trusts it.
        """
        stored = self._listing.stored(self._row, names)
        return {name: stored[name] for name in names if name in stored}

    @property
    def size_bytes(self) -> int:
        """The size of the file, now."""
        return self._stat().size_bytes

    @property
    def time_modified(self) -> datetime.datetime:
        """When the file was saved, in local time."""
        return moment_of(self._stat().time_modified_s)

    @property
    def time_created(self) -> datetime.datetime | None:
        """When the file was made, in local time; None where the system does not tell (Linux)."""
        seconds = self._stat().time_created_s
        return None if seconds is None else moment_of(seconds)

    def _stat(self) -> Stat:
        return stat_of(self._listing.store, self.name)


class Found(Sequence[Hit[T]]):
    """The results that belong to what was asked for, in the order of their keys, numbers by size (2 before 10).

    The folder is listed when something is first asked of it; from then on the set stays as it is, whatever is saved or
    deleted. :meth:`refresh` looks anew.
    """

    __slots__ = ("_again", "_choose", "_keeper", "_known", "about")

    def __init__(
        self,
        keeper: Keeper[T],
        choose: Callable[[], tuple[Listing, list[int]]],
        again: Callable[[], Found[T]],
        about: tuple[str, ...],
    ) -> None:
        self._keeper, self._choose, self._again = keeper, choose, again
        self._known: tuple[Listing, list[int]] | None = None
        self.about = about
        """What was asked for, in words."""

    @classmethod
    def by(cls, keeper: Keeper[T], conditions: Conditions, template: T | None = None) -> Found[T]:
        """Return what *keeper* has of *conditions*."""

        def choose() -> tuple[Listing, list[int]]:
            listing = Listing(keeper, conditions, template)
            rows = listing.matching(conditions)
            if not rows:
                warn_of_former_names(keeper)
            return listing, rows

        return cls(keeper, choose, lambda: cls.by(keeper, conditions, template), conditions.about)

    def _some(self, about: tuple[str, ...], choose: Callable[[Listing, list[int]], list[int]]) -> Found[T]:
        """Return those of the rows that *choose* returns, when they are asked for."""

        def chosen() -> tuple[Listing, list[int]]:
            listing, rows = self._state
            return listing, choose(listing, rows)

        return Found(self._keeper, chosen, lambda: self.refresh()._some(about, choose), (*self.about, *about))

    @property
    def _state(self) -> tuple[Listing, list[int]]:
        found = self._known
        if found is None:
            found = self._known = self._choose()
        return found

    def refresh(self) -> Found[T]:
        """Return what there is now of what was asked for."""
        return self._again()

    # ------------------------------------------------------------------------------------------ a sequence

    def __repr__(self) -> str:
        owner = self._keeper.info.persistence_cls.__qualname__
        about = f" with {', '.join(self.about)}" if self.about else ""
        return f"<Found: {len(self)} {owner} in {self._keeper.store.url!r}{about}>"

    def _repr_html_(self) -> str:
        """Return the first hits as a table, which notebooks show."""
        from neuralib.persistence._showing import html  # what only notebooks need

        info = self._keeper.info
        names = [declared.field_name for declared in info.named_fields]
        about = f"{len(self):,} found in {self._keeper.store.url}"
        about += f", with {', '.join(self.about)}" if self.about else ""
        if 0 < len(self) <= _MOST_ADDED_UP and self._keeper.store.in_flight == 1:  # else each takes a request
            about += f", {size_text(sum(map(_size, self)))}"
        shown = self[:_MOST_SHOWN]
        rows = [[*_key_texts(hit, names), size_text(_size(hit)), hit.name] for hit in shown]
        if len(self) > len(shown):
            rows.append(["…"] * len(names) + ["…", f"{len(self) - len(shown):,} more"])
        units = [unit_of(declared) for declared in info.named_fields]
        titles = [f"{name} ({unit})" if unit else name for name, unit in zip(names, units, strict=True)]
        return html.rows_html(info.cls_name, about, [*titles, "size", "file"], rows, [len(names)])

    def __len__(self) -> int:
        return len(self._state[1])

    def __iter__(self) -> Iterator[Hit[T]]:
        listing, rows = self._state
        for row in rows:
            yield Hit(listing, row)

    @overload
    def __getitem__(self, index: int) -> Hit[T]: ...
    @overload
    def __getitem__(self, index: slice) -> Found[T]: ...
    def __getitem__(self, index: int | slice) -> Hit[T] | Found[T]:
        if isinstance(index, slice):
            return self._some((f"the slice {_shown(index)}",), lambda _, rows: rows[index])
        listing, rows = self._state
        return Hit(listing, rows[index])

    def __contains__(self, item: object) -> bool:
        """Return whether *item* is among them: a hit, a path, the name of a file, or a result with these keys."""
        names = self._names
        if isinstance(item, Hit):
            return item.name in names and item._listing.store.url == self._keeper.store.url
        if isinstance(item, str) and os.path.basename(item) == item:
            return item in names
        if isinstance(item, (str, os.PathLike)):
            name, store = os.path.basename(item), self._keeper.store
            if store.local_folder() is None:
                return name in names and os.fspath(item) in {store.location(name), str(store.path(name))}
            return name in names and os.path.abspath(item) == store.location(name)
        if not isinstance(item, self._keeper.info.persistence_cls):
            return False
        keeper = self._keeper
        return keeper.names.name(item) in names or not names.isdisjoint(equal_names(keeper.names, keeper.info, item))

    @property
    def _names(self) -> set[str]:
        listing, rows = self._state
        return set(map(listing.name, rows))

    def first(self) -> Hit[T]:
        """Return the first.

        :raises NothingFoundError: there is none (a :class:`LookupError`)
        """
        return self._one(0)

    def last(self) -> Hit[T]:
        """Return the last.

        :raises NothingFoundError: there is none (a :class:`LookupError`)
        """
        return self._one(-1)

    def _one(self, index: int) -> Hit[T]:
        if not len(self):
            owner = self._keeper.info.persistence_cls.__qualname__
            raise NothingFoundError(owner, self._keeper.store.url, ", ".join(self.about))
        return self[index]

    @property
    def paths(self) -> list[Path]:
        """The paths of the files."""
        listing, rows = self._state
        return [listing.store.path(listing.name(row)) for row in rows]  # type: ignore[misc]

    def keys(self) -> list[dict[str, Any]]:
        """Return the keys of each: see :attr:`Hit.keys`.

        A file that had to be opened, and holds a result of another name, is left out, with a warning.
        """
        listing, rows = self._state
        keys = [listing.keys_or_none(row) for row in rows]
        return [found for found in keys if found is not None]

    # ------------------------------------------------------------------------------------------ some of them

    def filter(self, test: Callable[[Hit[T]], object] | None = None, /, **keys: Any) -> Found[T]:
        """Return those that *test* says yes to and whose fields are *keys*: see :meth:`PersistenceHandler.find`.

        >>> large = found.filter(lambda hit: hit.size_bytes > 1_000_000, animal={"A00", "B01"})  # doctest: +SKIP
        """
        found = self
        if keys:
            conditions = of_keys(self._keeper.info, keys)
            found = found._some(conditions.about, lambda listing, rows: listing.matching(conditions, rows))
        if test is not None:
            about = (getattr(test, "__name__", repr(test)),)
            found = found._some(about, lambda listing, rows: [row for row in rows if test(Hit(listing, row))])
        return found

    def latest(self) -> Found[T]:
        """Return, of those that differ in their auto-increment number only, the one with the highest number.

        Of a class without such a key, all of them.
        """
        return self._some(("the latest of each",), lambda listing, rows: KeyIndex(listing).latest(rows))

    # ------------------------------------------------------------------------------------------ as a table

    def to_columns(self, *fields: str, path: bool = False, progress: bool = False) -> dict[str, list[Any]]:
        """Return a table as plain lists: one for each key in the name, and one for each of *fields*.

        Files that had to be opened, and hold results of other names, are left out, with a warning; so are links to nothing,
        and the like.

        Values are those of :attr:`Hit.keys`. Without *fields*, no file is opened where names tell all keys. Where one is,
        the handler's *trusted* counts: a small file is unpickled as by :meth:`Hit.load`.

        :param fields: keys that are not in the name, and data fields that hold single values. They are read from the
            heads of the files, without loading arrays; None where a result lacks one
        :param path: add a column of paths
        :param progress: show a bar where the output is a terminal (needs the extra ``progress``)
        :raises TypeError: one of *fields* is an array: see :meth:`stack`
        """
        self._refuse_unknown(fields)
        listing, rows = self._state
        return tables.columns_of(listing, rows, fields, path=path, progress=progress)[0]

    def to_pandas(self, *fields: str, path: bool = False, progress: bool = False) -> Any:
        """Return the table of :meth:`to_columns` as a ``pandas.DataFrame`` (extra ``pandas``).

        A key annotated as a Literal of texts is a category, as is an Enum, by the names of its members. An int that may be
        None is pandas' nullable ``Int64``. ``attrs["units"]`` and ``attrs["descriptions"]`` have the units and descriptions
        that the class declares, by field.
        """
        return tables.pandas_frame(self.to_columns(*fields, path=path, progress=progress), self._declared)

    def to_polars(self, *fields: str, path: bool = False, progress: bool = False) -> Any:
        """Return the table of :meth:`to_columns` as a ``polars.DataFrame`` (extra ``polars``).

        A key annotated as a Literal of texts, or as an Enum, is a polars Enum, a tuple a list. What polars has no type for
        is shown as text.
        """
        return tables.polars_frame(self.to_columns(*fields, path=path, progress=progress), self._declared)

    def to_xarray(
        self,
        *fields: str,
        dims: Sequence[str] | None = None,
        field_dims: Mapping[str, Sequence[str]] | None = None,
        fill_value: Any = None,
        progress: bool = False,
    ) -> Any:
        """Return *fields* as the variables of an ``xarray.Dataset`` (extra ``xarray``), whose first dimensions are keys.

        The memory of each variable is allocated once. Units and descriptions that the class declares are attributes of
        the variables, ``units`` and ``long_name``, which xarray's plots show.

        >>> found.to_xarray("weights", dims=["animal", "plane"], field_dims={"weights": ["cell"]})  # doctest: +SKIP

        :param dims: the keys that are dimensions; those with more than one value by default. Keys that are not among them
            become coordinates
        :param field_dims: names for the dimensions of the fields themselves
        :param fill_value: what stands where a combination of the dimensions has no result; NaN or NaT by default
        :raises ValueError: two results have the same place, or one has none and the dtype has no NaN
        :raises StackError: a result's field has another shape or dtype than the first's
        """
        self._refuse_unknown(fields)
        listing, rows = self._state
        return stacks.dataset(listing, rows, fields, dims, field_dims or {}, fill_value, progress=progress)

    def stack(self, field: str, /, *, out: Any = None, progress: bool = False) -> Any:
        """Return the array of shape ``(n_results, *shape of the field)``, in the order of this set.

        Its memory is allocated once; of the results, only as many are in memory as the handler has threads.

        :param out: an array to fill and return, in place of a new one: of that shape, mapped into memory perhaps
        :raises StackError: a result's field has another shape or dtype than the first's; its file is named
        :raises MissingFieldError: a result lacks the field
        :raises NothingFoundError: the set is empty, so that the shape is not known
        """
        self._refuse_unknown([field])
        listing, rows = self._state
        return stacks.stacked(listing, rows, field, out, progress=progress)

    @property
    def _declared(self) -> dict[str, Any]:
        return {declared.field_name: declared for declared in self._keeper.info.fields}

    def _refuse_unknown(self, names: Iterable[str]) -> None:
        refuse_unknown(self._keeper.info, names, self._declared)

    # ------------------------------------------------------------------------------------------ maintenance

    def check(self, *, progress: bool = False) -> list[FileCheck]:
        """Return those that are no results of their names, each with its problem; an empty list where all are fine.

        ``find`` reads names. A copy that a program left behind when it synchronised the folder (``A00 (1)``), a link whose
        content was not fetched, a damaged head: only the file tells. The head of each is read, and no large array;
        :meth:`PersistenceHandler.verify` reads files to their end.

        :param progress: show a bar where the output is a terminal (needs the extra ``progress``)
        """
        listing, rows = self._state
        return checking.non_results_in(listing, rows, progress=progress)

    def delete(self, *, dry_run: bool = True, damaged: bool = False, progress: bool = False) -> list[Path]:
        """Return the paths of what would be deleted; with ``dry_run=False``, delete it.

        Only results go: regular files that hold a result of the class under its own name. What else has such a name (a
        link, a folder, a damaged file, somebody's notes, a renamed result) is left alone, with a warning. What is gone by
        now is no error. Names that came after the set was listed are never touched. Hidden leftovers of killed processes
        are no results: see :meth:`PersistenceHandler.sweep`.

        :param damaged: delete files that are damaged too
        """
        listing, rows = self._state
        return deleting.delete(  # type: ignore[return-value]  # paths of files, in the only store that has some
            listing, rows, dry_run=dry_run, damaged=damaged, progress=progress
        )


def _shown(index: slice) -> str:
    return ":".join("" if number is None else str(number) for number in (index.start, index.stop, index.step))


def _size(hit: Hit[Any]) -> int:
    """Return the size of the file, or 0 if it was deleted meanwhile."""
    try:
        return hit.size_bytes
    except OSError:
        return 0


def _key_texts(hit: Hit[Any], names: list[str]) -> list[str]:
    """Return the keys as texts, or question marks if they stand in the file and it can't be read."""
    try:
        keys = hit.keys
    except (PersistenceError, OSError):
        return ["?"] * len(names)
    return [cell_text(value) for value in map(keys.get, names)]
