"""Load a result, or compute and save it: the mix-in for programs whose options say which result."""

from __future__ import annotations

import abc
import copy
import errno
import numbers
import os
import time
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from neuralib.persistence import _core
from neuralib.persistence._classes.hints import annotations_of
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._computing.computed import computed
from neuralib.persistence._computing.generics import argument_of
from neuralib.persistence._computing.limits import LONGEST_S
from neuralib.persistence._computing.loading import is_valid, load_valid, refuse_irreplaceable
from neuralib.persistence._computing.missing import compute
from neuralib.persistence._computing.work import Work
from neuralib.persistence._errors import AutoIncFieldNotResolvedError, NameTakenError
from neuralib.persistence._finding.shares import whole_number
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._log import log
from neuralib.persistence._stores.paths import is_url

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    from neuralib.persistence._computing.missing import Watch
    from neuralib.persistence._computing.report import BatchReport
    from neuralib.persistence._finding.shares import Share
    from neuralib.persistence._handlers.base import PersistenceHandler

T = TypeVar("T")


_GROUP = "Persistence options"


def _invalid_cache_option() -> Any:
    try:
        from argclz import argument  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:  # the mix-in also works on a plain class, whose attribute this then is
        return False
    return argument("--invalid-cache", group=_GROUP, help="compute the result again, and replace the one that is saved")


class PersistenceOptions(Generic[T], metaclass=abc.ABCMeta):
    """Loads the result that the options describe, or computes and saves it.

    Give the class of the results as ``T``, say in :meth:`empty_cache` which result is meant, and in
    :meth:`compute_cache` how it is computed. With argclz, the option ``--invalid-cache`` computes it anew.
    """

    GROUP_CACHE = _GROUP

    invalid_cache: bool = _invalid_cache_option()

    @property
    def persistence_class(self) -> type[T]:
        """The class of the results: what stands for ``T``, at any depth of inheritance.

        :raises TypeError: no class stands for it
        """
        found = argument_of(type(self), PersistenceOptions)
        if found is None:
            name = type(self).__qualname__
            raise TypeError(
                f"{name} does not say the class of its results: inherit from PersistenceOptions[YourResult], "
                f"or override persistence_class"
            )
        return typing.cast("type[T]", found)

    def persistence_handler(self, dest: Path | None = None) -> PersistenceHandler[T]:
        """Return the handler that keeps the results in *dest*; in the working directory where that is None."""
        return PickleHandler(self.persistence_class, Path() if dest is None else dest)

    @abc.abstractmethod
    def empty_cache(self) -> T:
        """Return a new result with its keys set and no data: the template that says which result is meant."""

    @abc.abstractmethod
    def compute_cache(self, result: T) -> T:
        """Compute the data of *result*, whose keys are set, and return it."""

    def validate_cache(self, result_path: Path, result: T) -> bool:
        """Return whether *result*, which was loaded from *result_path*, still serves; it is computed again otherwise.

        A TypeError, ValueError, KeyError, AttributeError or RuntimeError says no too.
        """
        return True

    def find_cache(self, result: T, dest: str | os.PathLike[str] | None = None, validator: bool = False) -> list[T]:
        """Return the saved results that match the template *result*, in which ``missing`` stands for any value.

        :param dest: the folder of the results
        :param validator: only those that pass :meth:`validate_cache`
        """
        found = self._handler(dest).load_all(result)
        return [each for path, each in found if not validator or is_valid(self, path, each)]

    def save_cache(self, result: T, dest: str | os.PathLike[str] | None = None, force: bool = True) -> None:
        """Save *result* in the folder *dest*.

        :param force: replace what is saved under its name
        :raises FileExistsError: *force* is False and there is something
        """
        handler = self._handler(dest)
        if not force and _core.is_numbered(ensure_persistence_class(result).layout, result, None):
            store, name = handler._keeper.place_of(result)
            if store.has(name):
                problem = "there is a result already, and force is False"
                raise FileExistsError(errno.EEXIST, problem, store.location(name))
        handler.save_persistence(result)

    def load_cache(
        self,
        result: T | None = None,
        error_when_missing: bool = False,
        dest: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> T:
        """Load the result that *result* and *kwargs* describe; compute and save it where there is none that serves.

        It is computed where there is no such file, where the file is damaged or fails validation, where
        ``invalid_cache`` is set, and where the auto-increment key is open (that run gets a new number). A file that is
        whole and can't be loaded here, as a package is missing, is neither damaged nor absent: that is an error.

        :param result: the template; :meth:`empty_cache` by default
        :param error_when_missing: never compute
        :param dest: the folder of the results
        :param kwargs: key values that replace those of the template
        :raises FileNotFoundError: *error_when_missing*, and there is no valid result
        :raises NameTakenError: the file of that name holds a result with other keys, which is not replaced
        :raises UnloadableResultError: the file is whole, but can't be loaded here; nothing was computed
        :raises NothingComputedError: :meth:`compute_cache` set none of the data; nothing is saved
        """
        handler = self._handler(dest)
        template = self._template(result, kwargs)
        path: Path | None = None
        loaded: T | None
        try:
            path, reason = handler.filepath(template), ""
        except AutoIncFieldNotResolvedError as error:
            reason = str(error)
        if path is not None and not getattr(self, "invalid_cache", False):
            try:
                loaded, reason = load_valid(self, handler, template, path)
            except NameTakenError as error:
                if not error_when_missing:
                    raise
                loaded, reason = None, str(error)
            if loaded is not None:
                return loaded
        elif path is not None:
            reason = "invalid_cache is set"
            if not error_when_missing:
                refuse_irreplaceable(handler, template)
        if error_when_missing:
            raise FileNotFoundError(errno.ENOENT, f"no result to load ({reason})", None if path is None else str(path))
        return self._compute(handler, template, reason)

    def compute_missing(
        self,
        templates: Mapping[str, Any] | Iterable[T],
        executor: Executor | Callable[[], Executor] | None = None,
        progress: bool | Watch = True,
        dest: str | os.PathLike[str] | None = None,
        *,
        repeat: int = 1,
        share: Share | None = None,
        claims: bool = False,
        retries: int = 0,
        timeout_s: float | None = None,
        save: Literal["worker", "driver"] = "worker",
    ) -> BatchReport:
        """Compute and save those of *templates* that have no result yet; go on past those that fail, and report them.

        Each result is saved as soon as it is computed, by the process that computed it: arrays don't travel, and a kill
        loses no more than what was being computed. The next call goes on where this one stopped.

        >>> report = options.compute_missing(  # doctest: +SKIP
        ...     {"animal": animals, "plane": range(4)}, lambda: ProcessPoolExecutor(8)
        ... )
        >>> report.to_pandas()  # the failures  # doctest: +SKIP

        A worker that is killed breaks a pool of processes. If *executor* is a function, it makes a new one: what was in flight
        is tried once more by itself, and what kills its worker again is a failure. If *executor* is an executor, the report
        says how many templates were not tried.

        :param templates: what is wanted: see :meth:`~neuralib.persistence.PersistenceHandler.todo`
        :param executor: what computes, of threads, of processes, of a cluster (dask's ``client.get_executor()``), or a
            function without arguments that makes one, such as ``lambda: ProcessPoolExecutor(8)``; this
            thread by default. For other processes, these options and the templates are pickled; its workers must see *dest*.
            A worker unpickles the options once, so that threads of one worker share them
        :param progress: show a bar where the output is a terminal and tqdm is installed; or a function that is called with the
            report so far, and the number of templates (None if it is not known)
        :param dest: the folder or the store of the results
        :param repeat: how many results are wanted of each template whose auto-increment number is open. ``compute_cache`` gets
            them with their numbers, which are the lowest free ones, and can serve as seeds
        :param share: what of it belongs to this task of a job array: see
            :meth:`~neuralib.persistence.PersistenceHandler.todo`
        :param claims: pass over what another batch with *claims* is computing. A claim is a hidden name in the store that is
            renewed every 15 s; a minute after that ends, or at once if its process is known to be dead, it is taken over
        :param retries: how often a template that failed is tried again
        :param timeout_s: how long a computation may take, in seconds. What takes longer fails with a :class:`TimeoutError`. This
            needs processes that compute in their main thread, on POSIX systems
        :param save: ``"driver"``: workers send results back, and this process saves them; for workers that can't see *dest*,
            and for stores that one process writes best
        :raises BatchInterrupted: Ctrl-C; the report so far is its attribute ``report``
        :raises ValueError: *timeout_s* is given, and nothing can stop what *executor* computes; or the store is in this
            process's memory, and other processes are to save there
        """
        retries = whole_number("retries", retries)
        if timeout_s is not None:
            if not isinstance(timeout_s, numbers.Real) or not 0 < timeout_s <= LONGEST_S:
                raise ValueError(
                    f"timeout_s={timeout_s!r}: expected seconds, more than 0; None for as long as it takes"
                )
            timeout_s = float(timeout_s)  # timers take no number of numpy
        if not isinstance(progress, bool) and not callable(progress):
            raise TypeError(
                f"progress={progress!r}: expected True, False, or a function to call with the report so far"
            )
        if save not in {"worker", "driver"}:
            raise ValueError(f"save={save!r}: expected 'worker' or 'driver'")
        folder = _place(dest)
        finite = isinstance(templates, (Mapping, Sequence))
        missing = self._handler(folder)._todo(templates, repeat, share, numbered=True)
        saves = save == "worker" or executor is None
        work = Work(self, folder, claims=claims, timeout_s=timeout_s, saves=saves)
        return compute(work, missing, executor, retries, progress=progress, finite=finite)

    def _handler(self, dest: str | os.PathLike[str] | None) -> PersistenceHandler[T]:
        return self.persistence_handler(_place(dest))

    def _template(self, result: T | None, overrides: dict[str, Any]) -> T:
        """Return the template with the overrides: what is validated and computed. They don't change the caller's result."""
        template = self.empty_cache() if result is None else copy.copy(result) if overrides else result
        ensure_persistence_class(template).filename(template, **overrides)  # refuses names that are no fields
        for name, value in overrides.items():
            setattr(template, name, value)
        return template

    def _compute(self, handler: PersistenceHandler[T], template: T, reason: str) -> T:
        start = time.perf_counter()
        log.info("computing a %s: %s", type(template).__name__, reason)
        result = computed(self, template)
        saving = time.perf_counter()
        handler.save_persistence(result)
        log.info(
            "computed in %.3f s, saved %s in %.3f s",
            saving - start,
            handler.filepath(result),
            time.perf_counter() - saving,
        )
        return result


def _place(dest: Any) -> Any:
    """Return *dest* as :meth:`PersistenceOptions.persistence_handler` gets it: None, a path, a URL, or a store."""
    return Path(dest) if isinstance(dest, (str, os.PathLike)) and not is_url(os.fspath(dest)) else dest


def get_options_and_cache(
    opt_cls: type[PersistenceOptions[T]],
    ref: Any,
    error_when_missing: bool = False,
    invalid_cache: bool = False,
    **kwargs: Any,
) -> T:
    """Make options of *opt_cls* with the arguments of *ref*, and load or compute their result.

    :param opt_cls: the options of the result that is wanted
    :param ref: an options object whose arguments of the same names are taken over, or None
    :param error_when_missing: never compute
    :param invalid_cache: compute the result again
    :param kwargs: key values that replace those of the template
    :raises FileNotFoundError: *error_when_missing*, and there is no valid result
    """
    options = opt_cls()
    try:
        from argclz import copy_argument  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        for name in {name for base in opt_cls.__mro__ for name in annotations_of(base)}:
            if hasattr(ref, name):
                setattr(options, name, getattr(ref, name))
        options.invalid_cache = invalid_cache
    else:
        copy_argument(options, ref, invalid_cache=invalid_cache)
    return options.load_cache(error_when_missing=error_when_missing, **kwargs)
