"""What every format shares: names, numbers, publication, finding, and the checks on what is given and what is found."""

from __future__ import annotations

import abc
import copy
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from neuralib.persistence import _core, _disk
from neuralib.persistence._classes.convert import as_dict
from neuralib.persistence._classes.field import missing
from neuralib.persistence._classes.name_texts import AnyText, has_text
from neuralib.persistence._classes.schema import INFO, PersistentClass, ensure_persistence_class
from neuralib.persistence._errors import (
    AutoIncFieldNotResolvedError,
    CorruptResultError,
    KeyMismatchError,
    KeyNotSetError,
    NotAResultError,
    PersistenceError,
    UnsafeNameError,
    WrongResultClassError,
    shown,
)
from neuralib.persistence._finding import checking, listing, todo
from neuralib.persistence._finding.found import Found
from neuralib.persistence._finding.query import of_keys, of_template
from neuralib.persistence._keeping import batches, identity
from neuralib.persistence._keeping.batches import PATIENCE
from neuralib.persistence._keeping.numbering import Numbering, Series
from neuralib.persistence._stores import system
from neuralib.persistence._stores.folder import STALE_AFTER_S, FolderStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from neuralib.persistence._disk import Stamp
    from neuralib.persistence._finding.checking import FileCheck
    from neuralib.persistence._finding.query import Conditions
    from neuralib.persistence._stores.base import Draft

T = TypeVar("T")

_log = logging.getLogger("neuralib.persistence")


class PersistenceHandler(Generic[T], metaclass=abc.ABCMeta):
    """Saves results of one persistence class in a folder, and finds and loads them again.

    For a format of your own, see :class:`FileHandler`, which needs two methods. Handlers that subclass this one give the
    properties :attr:`persistence_class` and :attr:`save_root`, and the hooks :meth:`_save_persistence` and
    :meth:`_load_persistence`; they usually extend :meth:`filename` by a suffix.

    Saving is all or nothing: a result is under its name whole, or what was there before still is.
    """

    durable: bool = False
    """Whether a save returns only when it would survive a loss of power."""

    threads: int = 1
    """How many threads read files in :meth:`load_all`."""

    _own_place = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note what the subclass does in its own way."""
        super().__init_subclass__(**kwargs)
        cls._note_own_ways(PersistenceHandler)

    @classmethod
    def _note_own_ways(cls, base: type) -> None:
        """Note whether *cls* decides where results are in another way than *base*, which is quicker than asking it."""
        cls._own_place = any(
            getattr(cls, it) is not getattr(base, it)
            for it in ("filepath", "filename", "save_root", "persistence_class")
        )

    @property
    @abc.abstractmethod
    def persistence_class(self) -> type[T]:
        """The class whose results this handler keeps."""

    @property
    def persistence_info(self) -> PersistentClass[T]:
        """What is known of that class."""
        return ensure_persistence_class(self.persistence_class)

    @property
    @abc.abstractmethod
    def save_root(self) -> Path:
        """The folder of the results."""

    @abc.abstractmethod
    def _save_persistence(self, result: T, path: Path) -> None:
        """Write *result* into a new file at *path*. The file gets its final place when this returns."""

    @abc.abstractmethod
    def _load_persistence(self, path: Path) -> T:
        """Return the result in the file at *path*."""

    # ------------------------------------------------------------------------------------------ names

    def filename(self, result: T | None, /, **kwargs: Any) -> str:
        """Return the file name for the keys of *result*, replaced by *kwargs*.

        A number that is still open shows as ``None``, a wildcard (:data:`missing`) as ``*``.

        :raises KeyNotSetError: a key of the name has no value
        :raises UnknownFieldError: *kwargs* names no field
        :raises UnsafeNameError: a value can't be part of a file name
        """
        return self.persistence_info.filename(result, **kwargs)

    def filepath(self, result: T | None, /, **kwargs: Any) -> Path:
        """Return the path of the file for the keys of *result*, replaced by *kwargs*.

        :raises AutoIncFieldNotResolvedError: the auto-increment key has no number yet
        """
        info = self.persistence_info
        if not _core.is_numbered(info.layout, result, kwargs):
            raise AutoIncFieldNotResolvedError(
                self.persistence_class if result is None else result, info.layout.autoinc
            )
        return Path(self.save_root) / self.filename(result, **kwargs)

    def validate(self, ref: T, res: T | dict[str, Any]) -> bool:
        """Return True where the validated keys of *res* agree with those of *ref*.

        :raises KeyMismatchError: one does not (a :class:`FileNotFoundError`)
        """
        return ensure_persistence_class(ref).validate(ref, res)

    # ------------------------------------------------------------------------------------------ saving

    def save_persistence(self, result: T, path: str | os.PathLike[str] | None = None) -> T:
        """Save *result*, and return it, its auto-increment number set.

        :param path: where to save it, if not in :attr:`save_root` under its name; a file there is replaced
        :raises WrongResultClassError: *result* is not of this handler's class
        :raises AutoIncFieldNotResolvedError: *path* is given, and *result* has no number
        :raises NameTakenError: a result with other keys has the same name; it is left as it is
        :raises UnsafeNameError: a key's value can't be part of a file name
        :raises OSError: the file can't be written; what was there before is left as it is
        """
        info = self._info_of(result)
        autoinc = info._layout.autoinc  # type: ignore[union-attr]
        numbered = autoinc is None or getattr(result, autoinc, None) is not None
        if path is not None:
            if not numbered:
                raise AutoIncFieldNotResolvedError(result, autoinc)
            folder, name = os.path.split(os.fspath(path))
            self._save_as(result, FolderStore(folder), name, None)
        elif numbered:
            store, name = self._place_of(result, info)
            self._save_as(result, store, name, info)
            if autoinc is not None:
                self._note_number(result, info)
        else:
            self._save_with_new_number(result, info)
        return result

    def save_all(self, results: Iterable[T], *, progress: bool = False, durable: bool | None = None) -> int:
        """Save many results, and return how many; their auto-increment numbers are set.

        Where the batch is durable, results wait for the disk together, which costs each a small part of the wait; all
        that were saved would survive a loss of power when this returns.

        :param results: any iterable, a generator too: each result is asked for when the one before was taken care of
        :param progress: show a bar where the output is a terminal (needs the extra ``progress``)
        :param durable: whether they are to survive a loss of power; :attr:`durable` where nothing is given
        :raises Exception: whatever one of them raises; those before it are saved, and a note says how many
        """
        handler = self
        if durable is not None and durable is not self.durable:
            _ = self._numbering  # which both share
            handler = copy.copy(self)
            handler.durable = durable
        return batches.save_all(handler, results, progress=progress)

    def _batch_begins(self) -> None:
        """Prepare for many results, whatever becomes of them."""

    def _batch_ends(self) -> None:
        """Give up what was prepared."""

    def _info_of(self, result: object) -> PersistentClass[T]:
        """Return what is known of this handler's class, of which *result* must be."""
        info = self.persistence_info
        given = type(result)
        if getattr(given, INFO, None) is info:
            return info  # type: ignore[no-any-return]
        owner = self.persistence_class.__qualname__
        ensure_persistence_class(result)
        same_name = (given.__module__, given.__qualname__) == (self.persistence_class.__module__, owner)
        hint = (
            f"{owner} was defined again after this result was made: convert it with from_dict({owner}, as_dict(result))"
            if same_name
            else ""
        )
        raise WrongResultClassError(owner, given.__qualname__, hint)

    def _place_of(self, result: T, info: PersistentClass[T]) -> tuple[FolderStore, str]:
        """Return the folder and the name of *result*."""
        folder, name = os.path.split(os.fspath(self.filepath(result)))
        return FolderStore(folder), name

    def _draft(self, result: T, store: FolderStore, name: str, *, durable: bool) -> Draft:
        """Return *result* as bytes that can be published under *name*."""
        return store.draft_by_hook(lambda path: self._save_persistence(result, path), name, durable=durable)

    def _publish_new(self, result: T, store: FolderStore, name: str, *, stamped: bool) -> Draft | Stamp:
        """Save *result* under *name*.

        :param stamped: whether the store's stamp is asked for
        :return: where the name is taken, what was to get it; else the store's stamp right after, as far as it is known
        """
        return stamp_or_draft(self._draft(result, store, name, durable=self.durable), name)

    def _publish_then_sync(self, result: T, store: FolderStore, name: str, *, stamped: bool) -> Draft | Stamp:
        """Do the same, but wait for the disk after the file has its name.

        Who waits before it never wins against those who don't wait. A loss of power in between may leave a torn file, of
        a result whose save has not returned, which is told when it is loaded.
        """
        draft = self._draft(result, store, name, durable=False)
        outcome = stamp_or_draft(draft, name)
        if isinstance(outcome, _disk.Stamp):
            draft.sync()
            system.sync_names(store.root)
        return outcome

    def _save_as(self, result: T, store: FolderStore, name: str, info: PersistentClass[T] | None) -> None:
        """Save *result* under *name*; with *info*, replace what is there only where it has the same keys."""
        draft = self._publish_new(result, store, name, stamped=False)
        if isinstance(draft, _disk.Stamp):
            return
        try:
            self._replace(result, draft, store, name, info)
        finally:
            draft.discard()

    def _replace(self, result: T, draft: Draft, store: FolderStore, name: str, info: PersistentClass[T] | None) -> None:
        """Give *draft* the name *name*, in place of what has it; with *info*, only where that has the same keys."""
        path = store.path(name)
        system.refuse_special(path)
        if info is not None:
            self._refuse_other_keys(result, path, info)
        draft.publish_over(name)

    def _refuse_other_keys(self, result: T, path: str, info: PersistentClass[T]) -> None:
        """Raise an error where the file at *path* holds a result whose keys in the name differ."""
        try:
            stored = self._stored_keys(path, info)
        except (FileNotFoundError, IsADirectoryError):  # nothing, or a link to nothing or to a folder
            return
        except (CorruptResultError, NotAResultError) as error:
            _log.warning("replacing a file that is no result any more: %s", error)
            return
        identity.refuse_taken(info, result, stored, path)

    def _stored_keys(self, path: str, info: PersistentClass[T]) -> dict[str, Any]:
        """Return at least the keys in the name of the result at *path*, without its large arrays where that can be done."""
        try:
            return self._some_fields(path, [it.field_name for it in info.named_fields])
        except (CorruptResultError, NotAResultError):  # it may be a result all the same, for who reads all of it
            return self._stored_fields(path)

    def _stored_fields(self, path: str) -> dict[str, Any]:
        """Return the fields of the result at *path*."""
        return as_dict(self._load_by_hook(path))

    @property
    def _numbering(self) -> Numbering[FolderStore]:
        # Not made in __init__: subclasses may not call it.
        found: Numbering[FolderStore] | None = self.__dict__.get("_numbers")
        if found is not None:
            return found
        made: Numbering[FolderStore] = vars(self).setdefault("_numbers", Numbering())
        return made

    def _save_with_new_number(self, result: T, info: PersistentClass[T]) -> None:
        field: str = info._layout.autoinc  # type: ignore[union-attr, assignment]
        self._save_in_series(result, self._series_of(result, info, field), field)

    def _save_in_series(self, result: T, series: Series[FolderStore], field: str) -> None:
        """Save *result* under the next number of *series*, which becomes the value of *field*."""
        store, head, tail = series.store, series.head, series.tail
        published = False
        losses = least = 0
        try:
            while not published:
                number = max(series.next(), least)
                setattr(result, field, number)
                publish = self._publish_new if losses < PATIENCE or not self.durable else self._publish_then_sync
                draft = publish(result, store, f"{head}{number}{tail}", stamped=True)
                if isinstance(draft, _disk.Stamp):
                    published = True
                    series.taken(number, draft)
                else:  # somebody else was first: theirs stays, this one takes the next number
                    draft.discard()
                    series.lost(number)
                    losses += 1
                    least = number + 1  # also where theirs is not listed: 'a' and 'A' are one on some file systems
        finally:
            if not published:
                setattr(result, field, None)  # so that saving it again gives it a number

    def _note_number(self, result: T, info: PersistentClass[T]) -> None:
        """Take into account that *result* was saved with a number that it had: the next one is after it."""
        field: str = info.layout.autoinc  # type: ignore[assignment]
        number = getattr(result, field, None)
        # Nothing is remembered before a number was asked for; and what is no int is told by listing the names.
        if type(number) is int and self._numbering.last is not None:
            self._series_of(result, info, field).given(number)

    def _series_of(self, result: T, info: PersistentClass[T], field: str) -> Series[FolderStore]:
        """Return the series that *result* will be one of."""
        plain = self.filename(result, **{field: 0})
        mark = next(it for it in map(AnyText, range(AnyText.COUNT)) if str(it.text) not in plain)
        folder, name = os.path.split(os.fspath(self.filepath(result, **{field: mark})))
        head, tail = name.split(str(mark.text))
        return self._numbering.series(FolderStore(folder), (head, tail))

    # ------------------------------------------------------------------------------------------ loading

    def load_persistence(self, path: str | os.PathLike[str] | T | dict[str, Any]) -> T:
        """Load one result, and return it. Its keys are not validated: see :meth:`validate`.

        :param path: the path of a file; or a result whose keys are set, or a dict of keys, that name a file in
            :attr:`save_root`
        :raises FileNotFoundError: there is no such file
        :raises AutoIncFieldNotResolvedError: the auto-increment key has no number
        :raises CorruptResultError: the file is damaged, or no result file
        :raises NotAResultError: the file holds something else
        :raises KeyMismatchError: the file holds a result with other keys than its name was asked for by
        """
        if isinstance(path, (str, os.PathLike)):
            return self._load(path)
        if isinstance(path, dict):
            keys: dict[str, Any] = path
            target = self.filepath(None, **keys)
        else:
            self._info_of(path)
            keys = as_dict(path)
            target = self.filepath(path)
        result = self._load(target)
        other = identity.other_key(self.persistence_info, result, keys)
        if other is not None:
            wanted, found = shown(keys[other]), shown(getattr(result, other, None))
            raise KeyMismatchError(self.persistence_class.__qualname__, other, wanted, found, str(target))
        return result

    def _load(self, path: str | os.PathLike[str]) -> T:
        result = self._load_by_hook(os.fspath(path))
        self._refuse_open_number(result, path)
        return result

    def _load_by_hook(self, path: str) -> T:
        """Return what :meth:`_load_persistence` makes of *path*; its errors say the path, and nobody waits for a pipe."""
        endless = system.endless_kind(path)
        if endless is not None:
            raise CorruptResultError(path, endless)
        try:
            return self._load_persistence(Path(path))
        except Exception as error:
            told = system.explained_any(error, "reading a result", path)
            if told is error:
                raise
            raise told from error

    def _refuse_open_number(self, result: T, path: str | os.PathLike[str]) -> None:
        layout = self.persistence_info.layout
        if layout.autoinc is not None and not _core.is_numbered(layout, result, None):
            message = f"{os.fspath(path)}: the result in it has no number in its auto-increment field {layout.autoinc}"
            raise AutoIncFieldNotResolvedError(result, layout.autoinc, message)

    def _is_named(self, result: T, name: str) -> bool:
        """Return whether *name* is the file name of *result*."""
        if not all(has_text(it, getattr(result, it.field_name, None)) for it in self.persistence_info.named_fields):
            return False
        try:
            return self.filename(result) == name
        except KeyNotSetError:  # of the oldest files, which may lack keys: nothing speaks against the name
            return True
        except UnsafeNameError:
            return False

    def load_all(
        self,
        result: T | None = None,
        /,
        *,
        on_corrupt: Callable[[PersistenceError], object] | None = None,
        progress: bool = False,
        **kwargs: Any,
    ) -> Iterator[tuple[Path, T]]:
        """Load every result whose keys are those of *result*, replaced by *kwargs*; yield each with its path.

        :data:`missing` as the value of a key stands for any value, and so does an open auto-increment number. Only keys
        that show in the file name count. Results come in the order of their keys, numbers by size (2 before 10).

        >>> [result.value for path, result in handler.load_all(animal=missing)]  # doctest: +SKIP

        :param on_corrupt: what to do with the error of a file that is damaged, no result, or holds a result of another
            name, in place of raising it (or, in the last case, logging it); ``problems.append`` collects them
        :param progress: show a bar where the output is a terminal (needs the extra ``progress``)
        :raises KeyNotSetError: a key of the name has no value, not even :data:`missing`
        :raises CorruptResultError: a file is damaged; it is named
        """
        conditions = self._like(result, kwargs)
        exact = {it: kwargs[it] if it in kwargs else getattr(result, it) for it in conditions.texts}
        return checking.load_matching(self, conditions, result, exact, on_corrupt, progress=progress)

    def _like(self, result: T | None, overrides: dict[str, Any]) -> Conditions:
        """Return the conditions of the template *result*, its keys replaced by *overrides*."""
        info = self.persistence_info
        if result is not None:
            self._info_of(result)
        conditions = of_template(info, result, overrides)
        wild = {it.field_name: AnyText() for it in info.named_fields if it.field_name not in conditions.texts}
        self.filename(result, **{**overrides, **wild})  # refuses values that can't be in a name
        return conditions

    # ------------------------------------------------------------------------------------------ finding

    def find(self, template: T | None = None, /, **keys: Any) -> Found[T]:
        """Return what is in the folder, by names alone: a set of hits, each of which loads on demand.

        Keys that are not given may have any value. What a key has to be is said by

        - a value: ``animal="A00"``. As everywhere, values of one text are one value to a name (``3`` and ``"3"``);
        - :data:`missing`: any value;
        - a set, frozenset, list, range or iterator of values: ``plane=range(3)``, ``animal={"A00", "B01"}``. A tuple too,
          unless the key is annotated with tuples, ``Any`` or what can't be resolved: there it is a value;
        - a function that is given the value, as one of the key's annotation: ``plane=lambda it: it > 3``.

        A file is opened only where names can't decide, and then its head alone is read, or all of it where that is less
        than 64 KiB, as far as the handler trusts it: where a condition is on a key that
        is not in the name, or on a data field; where the value of a key can't be told from its text (its annotation says
        too little, or the class makes the text by a function) and a function asks for it; and where the name can be read
        in more than one way, because values contain the splitter, and the answer depends on it.

        >>> found = handler.find(animal={"A00", "B01"}, plane=lambda it: it > 3)  # doctest: +SKIP
        >>> for hit in found.latest():  # doctest: +SKIP
        ...     print(hit.name, hit.keys["plane"], hit.load().weights.mean())

        :param template: a result: the keys of its name are asked for, :data:`missing` and an open number being any value
        :param keys: what fields have to be, by name, in place of the template's
        :raises UnknownFieldError: there is no such field
        :raises KeyNotSetError: a key in the name of *template* has no value
        """
        info = self.persistence_info
        conditions = of_keys(info, keys)
        if template is not None:
            self._info_of(template)
            conditions = of_template(info, template, dict.fromkeys(keys, missing)).and_more(conditions)
        return Found.by(self, conditions, template)

    def todo(self, grid: Mapping[str, Any] | Iterable[T], /, *, repeat: int = 1) -> Iterator[T]:
        """Yield templates of the results that are wanted and not there yet, in order, so that a batch goes on where it stopped.

        >>> for template in handler.todo({"animal": ["A00", "B01"], "plane": range(4)}):  # doctest: +SKIP
        ...     handler.save_persistence(compute(template))

        A result is there where a file has its name and, if names can be read in more than one way, the same keys in it; a
        validated key that is not in the name has to agree too. Nothing else is opened: :meth:`verify` finds damaged ones.
        The folder is listed once, when the first template is asked for.

        :param grid: values for each key, of which every combination is wanted, the last key changing fastest (what is no
            iterable, or a text, is one value); or an iterable of templates
        :param repeat: how many results of different numbers are wanted of each template whose auto-increment number is
            open. Those that lack are yielded as templates of their own
        :raises UnknownFieldError: *grid* names no key
        """
        if repeat < 0:
            raise ValueError(f"repeat must be 0 or more, not {repeat}")
        return todo.missing_of(self, todo.templates_of(self.persistence_info, grid), repeat)

    def _some_fields(self, path: str, names: Collection[str]) -> dict[str, Any]:
        """Return fields of the result at *path*, those of *names* that it has among them; arrays need not be read."""
        return self._stored_fields(path)

    # ------------------------------------------------------------------------------------------ keeping house

    def verify(
        self, result: T | str | os.PathLike[str] | None = None, /, *, progress: bool = False, **kwargs: Any
    ) -> Iterator[FileCheck]:
        """Read files to their end, and yield what became of each; no result is made of them.

        Of a file with a checksum (all that :class:`PickleHandler` and :class:`GzipHandler` write), any change is found.
        A file that was renamed or copied, so that its name is not that of the keys in it, is reported by a
        :class:`KeyMismatchError`, where these keys are plain data.

        >>> broken = [found for found in handler.verify() if found.problem]  # doctest: +SKIP

        :param result: which files: those that :meth:`load_all` would load for the same arguments; or the path of one
            file; all of this handler's class where nothing is given
        :param progress: show a bar where the output is a terminal (needs the extra ``progress``)
        """
        given = isinstance(result, (str, os.PathLike))
        if isinstance(result, (str, os.PathLike)):
            paths = [os.fspath(result)]
        else:
            if result is None:
                kwargs = {it.field_name: missing for it in self.persistence_info.named_fields} | kwargs
            conditions = self._like(result, kwargs)
            found = listing.Listing(self, conditions, result)
            paths = [found.path(it) for it in found.candidates(conditions)]
        return checking.checked(self, paths, progress=progress, given=given)

    def _head_of(self, path: str) -> dict[str, Any]:
        """Return the fields at the start of the file at *path* that are plain data, without making anything else."""
        return {}

    def _check(self, path: str) -> bool:
        """Read the file *path* to its end; return whether a checksum says that it is what was saved."""
        self._load_by_hook(path)
        return False

    def sweep(self, *, older_than_s: float = STALE_AFTER_S) -> list[Path]:
        """Remove the hidden files that killed processes left in :attr:`save_root`; return their paths.

        Nobody needs to call it: they are invisible to everything else, and saving sweeps those of the last day and older.

        :param older_than_s: leave what was changed less than this many seconds ago: its process may be at work
        """
        root = Path(self.save_root)
        return [root / it for it in FolderStore(os.fspath(root)).sweep(older_than_s)]


def stamp_or_draft(draft: Draft, name: str) -> Draft | Stamp:
    """Publish *draft* under *name*, and return what that told of the folder: nothing; where the name is taken, the draft."""
    try:
        draft.publish_new(name)
    except FileExistsError:
        return draft
    except BaseException:
        draft.discard()
        raise
    draft.discard()
    return _disk.UNKNOWN
