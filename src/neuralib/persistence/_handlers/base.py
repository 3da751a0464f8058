"""What every handler offers, whatever its names, format and place: saving, loading, finding and maintenance."""

from __future__ import annotations

import abc
import copy
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from neuralib.persistence._classes.convert import as_dict
from neuralib.persistence._classes.field import missing
from neuralib.persistence._classes.name_texts import AnyText
from neuralib.persistence._classes.schema import INFO, PersistentClass, ensure_persistence_class
from neuralib.persistence._errors import AutoIncFieldNotResolvedError, PersistenceError, WrongResultClassError
from neuralib.persistence._finding import checking, former, listing, todo
from neuralib.persistence._finding.found import Found
from neuralib.persistence._finding.query import of_keys, of_template
from neuralib.persistence._finding.shares import share_of, whole_number
from neuralib.persistence._handlers.hooks import HookKeeper, HookRecords, refuse_open_number
from neuralib.persistence._keeping import batches
from neuralib.persistence._stores.folder import STALE_AFTER_S
from neuralib.persistence._stores.paths import PATHS, store_at
from neuralib.persistence._stores.system import home_expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping

    from neuralib.persistence._finding.checking import FileCheck
    from neuralib.persistence._finding.migrating import Migration
    from neuralib.persistence._finding.query import Conditions
    from neuralib.persistence._finding.shares import Share
    from neuralib.persistence._keeping.keeper import Keeper
    from neuralib.persistence._stores.base import Store

T = TypeVar("T")


class _ComposedKeeper:
    """Composes a handler's keeper when it is first needed: a subclass need not call ``__init__``."""

    def __get__(self, handler: Any, owner: type) -> Any:
        made = handler._compose()
        return vars(handler).setdefault("_keeper", made)


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

    _keeper: Keeper[T] = _ComposedKeeper()  # type: ignore[assignment]

    def __getstate__(self) -> object:
        """Return what is copied and pickled: all but the keeper, which is composed anew where it is needed."""
        state = super().__getstate__()
        own, slots = state if isinstance(state, tuple) else (state, None)
        if isinstance(own, dict):
            own = {name: value for name, value in own.items() if name != "_keeper"}
        return own if slots is None else (own, slots)

    def _compose(self) -> Keeper[T]:
        return HookKeeper(self, HookRecords(self), durable=self.durable, threads=self.threads)

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
        refuse_open_number(self.persistence_info, result, kwargs)
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
        keeper = self._keeper
        if getattr(type(result), INFO, None) is not keeper.info:
            self._refuse_other(result)
        if keeper.durable is not self.durable:
            keeper.durable = self.durable  # which may be set at any time
        if path is None:
            keeper.save(result)
            return result
        autoinc = keeper.info.layout.autoinc
        if autoinc is not None and getattr(result, autoinc, None) is None:
            raise AutoIncFieldNotResolvedError(result, autoinc)
        store, name = self._place_at(path)
        content = keeper.records.content(result, store, name, durable=keeper.durable)
        store.put(name, content, replace=True, durable=keeper.durable)
        return result

    def _save_if_new(self, result: T) -> bool:
        """Save *result*, whose number is set, unless there is a result of its keys by now; return whether it was saved."""
        keeper = self._keeper
        if type(self).save_persistence is not PersistenceHandler.save_persistence:  # something else happens there too
            if todo.is_there(keeper, result):
                return False
            self.save_persistence(result)
            return True
        self._refuse_other(result)
        keeper.durable = self.durable
        if keeper.save_new(result):
            return True
        if todo.is_there(keeper, result):
            return False
        self.save_persistence(result)  # what has the name is damaged, or another's, which is refused
        return True

    def _place_at(self, path: str | os.PathLike[str]) -> tuple[Store, str]:
        """Return the store and the name that *path* is: a file, an entry of an archive, or a name in a store without files."""
        store = self._keeper.store
        folder, name = os.path.split(os.fspath(path))
        if store.local_folder() is None and not folder:
            return store, name
        return store_at(folder), name

    def save_all(self, results: Iterable[T], *, progress: bool = False, durable: bool | None = None) -> int:
        """Save many results, and return how many; their auto-increment numbers are set.

        Where the batch is durable, results wait for the disk together, which costs each a small part of the wait; all
        that were saved would survive a loss of power when this returns.

        :param results: any iterable, a generator too: each result is asked for when the one before was taken care of
        :param progress: show a bar where the output is a terminal (needs the extra ``progress``)
        :param durable: whether they are to survive a loss of power; :attr:`durable` where nothing is given
        :raises Exception: whatever one of them raises; those before it are saved, and a note says how many
        """
        keeper = self._keeper
        keeper.durable = self.durable
        if durable is not None and durable is not keeper.durable:
            keeper = copy.copy(keeper)  # which shares the numbers
            keeper.durable = durable
        return batches.save_all(keeper, self._checked(results), progress=progress)

    @contextmanager
    def batch(self) -> Generator[None]:
        """Let the saves of the block share their cost, as those of :meth:`save_all` do.

        >>> with handler.batch():  # doctest: +SKIP
        ...     for seed in range(1000):
        ...         handler.save_persistence(compute(seed))

        In an archive, they share transactions; with :attr:`durable`, waits for the disk. They are saved when the block has ended,
        also by an exception, and can be loaded from then on. Until then, an auto-increment number may still change, where another
        process takes it first. Saves of several threads may share a batch.

        :raises Exception: whatever a save of the block raises; a note says how many were saved
        """
        keeper = self._keeper
        keeper.durable = self.durable
        joins = keeper.joins
        if joins is not None:  # another thread's block may end before this one
            with joins(keeper.durable):
                yield
            return
        with batches.together(keeper) as batching:
            vars(self)["_keeper"] = batching
            try:
                yield
            finally:
                vars(self)["_keeper"] = keeper

    def _checked(self, results: Iterable[T]) -> Iterator[T]:
        info = self._keeper.info
        for result in results:
            if getattr(type(result), INFO, None) is not info:
                self._refuse_other(result)
            yield result

    def _refuse_other(self, result: object) -> None:
        """Raise an error where *result* is not of this handler's class.

        :raises WrongResultClassError: it is not
        """
        info = self._keeper.info
        given = type(result)
        if getattr(given, INFO, None) is info:
            return
        owner = info.persistence_cls.__qualname__
        ensure_persistence_class(result)
        same_name = (given.__module__, given.__qualname__) == (info.persistence_cls.__module__, owner)
        hint = ""
        if same_name:
            hint = f"{owner} was defined again after this result was made: convert it with from_dict({owner}, as_dict(result))"
        elif isinstance(result, type):
            hint = f"give an instance of {owner}, not a class"
        raise WrongResultClassError(owner, given.__qualname__, hint)

    # ------------------------------------------------------------------------------------------ loading

    def load_persistence(self, path: str | os.PathLike[str] | T | dict[str, Any]) -> T:
        """Load one result, and return it. Its keys are not validated: see :meth:`validate`.

        :param path: the path of a file; or a result whose keys are set, or a dict of keys, that name a file in
            :attr:`save_root`
        :raises FileNotFoundError: there is no such file
        :raises AutoIncFieldNotResolvedError: the auto-increment key has no number
        :raises CorruptResultError: the file is damaged, or no result file
        :raises UnloadableResultError: the file is whole, but something in it can't be loaded here
        :raises NotAResultError: the file holds something else
        :raises KeyMismatchError: the file holds a result with other keys than its name was asked for by
        """
        keeper = self._keeper
        if isinstance(path, (str, os.PathLike)):
            text = home_expanded(path)
            if keeper.store.local_folder() is None and not os.path.dirname(text):
                return keeper.load(keeper.store, text)
            return keeper.load(PATHS, text)
        if isinstance(path, dict):
            keys: dict[str, Any] = path
            refuse_open_number(keeper.info, None, keys)
            template = None
        else:
            self._refuse_other(path)
            template, keys = path, as_dict(path)
            refuse_open_number(keeper.info, path, {})
        overrides = keys if template is None else {}
        store, name = keeper.place_by(template, overrides)
        try:
            return keeper.load_by(store, name, keys)
        except FileNotFoundError as error:
            other = keeper.other_name(template, overrides, store)
            if other is None:
                for key in [key for key, value in keys.items() if value is missing]:
                    error.add_note(
                        f"the key {key} is `missing`: use load_all() or find() for results with any value of it"
                    )
                former.warn_of_former_names(keeper)
                raise
            return keeper.load_by(store, other, keys)

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

        :param on_corrupt: what to do with the error of a file that is damaged, can't be loaded here, is no result, or
            holds a result of another name, in place of raising it (or, in the last case, logging it);
            ``problems.append`` collects them
        :param progress: show a bar where the output is a terminal (needs the extra ``progress``)
        :raises KeyNotSetError: a key of the name has no value, not even :data:`missing`
        :raises CorruptResultError: a file is damaged; it is named
        :raises UnloadableResultError: a file is whole, but can't be loaded here; it is named
        """
        conditions = self._like(result, kwargs)
        exact = {name: kwargs[name] if name in kwargs else getattr(result, name) for name in conditions.texts}
        keeper = self._keeper
        keeper.threads = self.threads
        return checking.load_matching(keeper, conditions, result, exact, on_corrupt, progress=progress)

    def _like(self, result: T | None, overrides: dict[str, Any]) -> Conditions:
        """Return the conditions of the template *result*, its keys replaced by *overrides*."""
        info = self._keeper.info
        if result is not None:
            self._refuse_other(result)
        conditions = of_template(info, result, overrides)
        wild = {field.field_name: AnyText() for field in info.named_fields if field.field_name not in conditions.texts}
        self._keeper.names.name(result, {**overrides, **wild})  # refuses values that can't be in a name
        return conditions

    # ------------------------------------------------------------------------------------------ finding

    def find(self, template: T | None = None, /, **keys: Any) -> Found[T]:
        """Return what is in the folder, by names alone: a set of hits, each of which loads on demand.

        Keys that are not given may have any value. What a key has to be is said by

        - a value: ``animal="A00"``. As everywhere, values of one text are one value to a name (``3`` and ``"3"``);
        - :data:`missing`: any value;
        - a set, frozenset, list, range or iterator of values: ``plane=range(3)``, ``animal={"A00", "B01"}``. A tuple too,
          unless the key is annotated with tuples, ``Any`` or what can't be resolved: there it is a value;
        - a function that is given the value, as one of the key's annotation: ``plane=lambda plane: plane > 3``.

        A file is opened only where names can't decide, and then its head alone is read, or all of it where that is less
        than 64 KiB, as far as the handler trusts it: where a condition is on a key that
        is not in the name, or on a data field; where the value of a key can't be told from its text (its annotation says
        too little, or the class makes the text by a function) and a function asks for it; and where the name can be read
        in more than one way, because values contain the splitter, and the answer depends on it.

        >>> found = handler.find(animal={"A00", "B01"}, plane=lambda plane: plane > 3)  # doctest: +SKIP
        >>> for hit in found.latest():  # doctest: +SKIP
        ...     print(hit.name, hit.keys["plane"], hit.load().weights.mean())

        :param template: a result: the keys of its name are asked for, :data:`missing` and an open number being any value
        :param keys: what fields have to be, by name, in place of the template's
        :raises UnknownFieldError: there is no such field
        :raises KeyNotSetError: a key in the name of *template* has no value
        """
        info = self._keeper.info
        conditions = of_keys(info, keys)
        if template is not None:
            self._refuse_other(template)
            conditions = of_template(info, template, dict.fromkeys(keys, missing)).and_more(conditions)
        keeper = self._keeper
        keeper.threads = self.threads
        return Found.by(keeper, conditions, template)

    def todo(
        self, grid: Mapping[str, Any] | Iterable[T], /, *, repeat: int = 1, share: Share | None = None
    ) -> Iterator[T]:
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
        :param share: what of it belongs to this task: ``(i, n)`` for number *i*, from 0, of *n* tasks; or ``"slurm"``,
            ``"sge"``, ``"lsf"`` or ``"pbs:n"`` for a task of a job array, whose environment variables tell the number. Shares are
            the same whenever each task looks. Repetitions then have their numbers already, which tell whose they are
        :raises UnknownFieldError: *grid* names no key
        :raises ValueError: there is no such share
        """
        return self._todo(grid, repeat, share)

    def _todo(
        self, grid: Mapping[str, Any] | Iterable[T], repeat: int, share: Share | None, *, numbered: bool = False
    ) -> Iterator[T]:
        """Yield what :meth:`todo` yields.

        :param numbered: give repetitions their numbers even where one task does all
        """
        repeat = whole_number("repeat", repeat)
        if not hasattr(grid, "__iter__"):
            raise TypeError(f'{grid!r}: expected values for each key, as in {{"animal": ["A", "B"]}}, or templates')
        keeper = self._keeper
        templates = self._checked(todo.templates_of(keeper.info, grid))
        return todo.missing_of(keeper, templates, repeat, share_of(share), numbered=numbered)

    # ------------------------------------------------------------------------------------------ maintenance

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
        keeper = self._keeper
        if isinstance(result, (str, os.PathLike)):
            store, name = self._place_at(result)
            return checking.checked(keeper, store, [name], progress=progress, named=False)
        if result is None:
            kwargs = {field.field_name: missing for field in keeper.info.named_fields} | kwargs
        conditions = self._like(result, kwargs)
        found = listing.Listing(keeper, conditions, result, every=True)
        names = [found.name(row) for row in found.candidates(conditions)]
        return checking.checked(keeper, keeper.store, names, progress=progress, named=True)

    def migrate(
        self, *, dry_run: bool = True, renamed_from: str | Collection[str] = (), progress: bool = False
    ) -> Migration:
        """Bring the files of the class to the names and fields that it gives them today, and report what became of each.

        A key was added to the name, a prefix, the splitter, ``name=`` or the format of the handler changed, fields were
        renamed, the version went up: files that were saved before have other names, and are not found. Which files are of
        the class is told by their cards; where there is none, by their fields and the class's name in their names. Keys
        that a file lacks have their defaults.

        Each file is written anew, whole, read back, and only then removed under its former name. A call that was killed
        can be repeated. Numbers stay. Where today's name is that of another result, both stay, and the report says so.

        >>> handler.migrate()  # doctest: +SKIP
        <Migration: would be: 12 moved, 1 taken>
        >>> handler.migrate(dry_run=False).problems  # doctest: +SKIP

        :param dry_run: change nothing, and return what would become of the files
        :param renamed_from: former names of the class, as they stand in the names of files, where the class in Python has
            another name too
        :param progress: show a bar where the output is a terminal (needs the extra ``progress``)
        :raises OSError: a file can't be written; those before it are migrated
        """
        from neuralib.persistence._finding import migrating  # which few programs need

        names = (renamed_from,) if isinstance(renamed_from, str) else tuple(renamed_from)
        return migrating.migrate(self._keeper, dry_run=dry_run, class_names=names, progress=progress)

    def sweep(self, *, older_than_s: float = STALE_AFTER_S) -> list[Path]:
        """Remove the hidden files that killed processes of this user left in :attr:`save_root`; return their paths.

        Nobody needs to call it: they are invisible to everything else, and saving sweeps those of the last day and older.

        :param older_than_s: leave what was changed less than this many seconds ago: its process may be at work
        """
        store = self._keeper.store
        return [store.path(name) for name in store.sweep(older_than_s)]  # type: ignore[misc]
