"""Load a result, or compute and save it: the mix-in for programs whose options say which result."""

from __future__ import annotations

import abc
import copy
import errno
import logging
import os
import pickle
import sys
import time
import typing
from pathlib import Path
from typing import Any, Generic, TypeVar

from neuralib.persistence import _core
from neuralib.persistence._classes.schema import ensure_persistence_class
from neuralib.persistence._computing.missing import compute
from neuralib.persistence._errors import (
    AutoIncFieldNotResolvedError,
    CorruptResultError,
    MissingFieldError,
    NameTakenError,
    NotAResultError,
)
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._keeping import identity

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Executor

    from neuralib.persistence._computing.missing import BatchReport
    from neuralib.persistence._handlers.base import PersistenceHandler

T = TypeVar("T")

_log = logging.getLogger("neuralib.persistence")

_GROUP = "Persistence options"
# What a class's own validate_cache raises to say no.
_REFUSALS = (TypeError, ValueError, KeyError, AttributeError, RuntimeError)
# A file that can't be made a result of any more.
_UNREADABLE = (CorruptResultError, NotAResultError, MissingFieldError, AutoIncFieldNotResolvedError)


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
        found = _argument_of(type(self))
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
        return [it for path, it in found if not validator or self._passes(path, it)]

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
        """Load the result that *result* and *kwargs* describe; compute and save it where it can't be loaded.

        It is computed where there is no such file, where the file is damaged or fails validation, where
        ``invalid_cache`` is set, and where the auto-increment key is open (that run gets a new number).

        :param result: the template; :meth:`empty_cache` by default
        :param error_when_missing: never compute
        :param dest: the folder of the results
        :param kwargs: key values that replace those of the template
        :raises FileNotFoundError: *error_when_missing*, and there is no valid result
        :raises NameTakenError: the file of that name holds a result with other keys, which is not replaced
        """
        handler = self._handler(dest)
        template = self._template(result, kwargs)
        path, reason = self._path_of(handler, template)
        if path is not None and not getattr(self, "invalid_cache", False):
            try:
                loaded, reason = self._load_valid(handler, template, path)
            except NameTakenError as error:
                if not error_when_missing:
                    raise
                loaded, reason = None, str(error)
            if loaded is not None:
                return loaded
        elif path is not None:
            reason = "invalid_cache is set"
        if error_when_missing:
            raise FileNotFoundError(errno.ENOENT, f"no result to load ({reason})", None if path is None else str(path))
        return self._compute(handler, template, reason)

    def compute_missing(
        self,
        templates: Mapping[str, Any] | Iterable[T],
        executor: Executor | None = None,
        progress: bool = True,
        dest: str | os.PathLike[str] | None = None,
        *,
        repeat: int = 1,
    ) -> BatchReport:
        """Compute and save those of *templates* that have no result yet; go on past those that fail, and report them.

        Each result is saved as soon as it is computed, by the process that computed it: arrays don't travel, and a kill
        loses no more than what was being computed. The next call goes on where this one stopped.

        >>> with ProcessPoolExecutor() as pool:  # doctest: +SKIP
        ...     report = options.compute_missing({"animal": animals, "plane": range(4)}, pool)
        >>> report.to_pandas()  # the failures  # doctest: +SKIP

        :param templates: what is wanted: see :meth:`~neuralib.persistence.PersistenceHandler.todo`
        :param executor: what computes, of threads, of processes, of a cluster (dask's ``client.get_executor()``); this
            thread by default. For other processes, these options and the templates are pickled; its workers must see *dest*
        :param progress: show a bar where the output is a terminal and tqdm is installed
        :param dest: the folder of the results
        :param repeat: how many results are wanted of each template whose auto-increment number is open
        :raises BrokenExecutor: a process of *executor* was killed, so that it computes no more; what was saved is there
        """
        folder = _place(dest)
        missing = self._handler(folder).todo(templates, repeat=repeat)
        return compute(self, missing, executor, folder, progress=progress)

    def _handler(self, dest: str | os.PathLike[str] | None) -> PersistenceHandler[T]:
        return self.persistence_handler(_place(dest))

    def _template(self, result: T | None, overrides: dict[str, Any]) -> T:
        """Return the template with the overrides: what is validated and computed. They don't change the caller's result."""
        template = self.empty_cache() if result is None else copy.copy(result) if overrides else result
        ensure_persistence_class(template).filename(template, **overrides)  # refuses names that are no fields
        for name, value in overrides.items():
            setattr(template, name, value)
        return template

    def _path_of(self, handler: PersistenceHandler[T], template: T) -> tuple[Path | None, str]:
        try:
            return handler.filepath(template), ""
        except AutoIncFieldNotResolvedError as error:
            return None, str(error)

    def _load_valid(self, handler: PersistenceHandler[T], template: T, path: Path) -> tuple[T | None, str]:
        """Return the result at *path* if it serves; otherwise None, and why."""
        start = time.perf_counter()
        try:
            result = handler.load_persistence(path)
        except FileNotFoundError as error:
            return None, str(error)
        except _UNREADABLE as error:
            _log.warning("taken as absent: %s", error)
            return None, str(error)
        except (pickle.UnpicklingError, EOFError, ImportError, AttributeError) as error:
            _log.warning("taken as absent: %s can't be loaded: %s: %s", path, type(error).__name__, error)
            return None, f"{type(error).__name__}: {error}"
        reason = self._other_keys(handler, template, result, path)
        if reason:
            return None, reason
        if not self._passes(path, result):
            return None, "validate_cache refused it"
        _log.info("loaded %s in %.3f s", path, time.perf_counter() - start)
        return result, ""

    def _other_keys(self, handler: PersistenceHandler[T], template: T, result: T, path: Path) -> str:
        """Return how the keys of *result*, which was loaded from *path*, differ from those of *template*.

        :raises NameTakenError: so that it can't be replaced by another, which would be computed in vain
        """
        info = ensure_persistence_class(template)
        keys = _core.as_dict(template)
        problem = ""
        try:
            handler.validate(template, result)
        except FileNotFoundError as error:
            problem = str(error)
        if problem or identity.other_key(handler.persistence_info, result, keys) is not None:
            identity.refuse_taken(info, template, _core.as_dict(result), str(path))
        return problem

    def _passes(self, path: Path, result: T) -> bool:
        try:
            return bool(self.validate_cache(path, result))
        except _REFUSALS as error:
            _log.warning("%s fails validation: %s: %s", path, type(error).__name__, error)
            return False

    def _compute(self, handler: PersistenceHandler[T], template: T, reason: str) -> T:
        start = time.perf_counter()
        _log.info("computing a %s: %s", type(template).__name__, reason)
        result = self.compute_cache(template)
        if result is None:
            raise TypeError(f"{type(self).__qualname__}.compute_cache returned None: it must return the result")
        computed = time.perf_counter()
        handler.save_persistence(result)
        _log.info(
            "computed in %.3f s, saved %s in %.3f s",
            computed - start,
            handler.filepath(result),
            time.perf_counter() - computed,
        )
        return result


def _place(dest: Any) -> Any:
    """Return *dest* as :meth:`PersistenceOptions.persistence_handler` gets it: None, a path, or a store."""
    return Path(dest) if isinstance(dest, (str, os.PathLike)) else dest


def _argument_of(cls: type) -> type | None:
    """Return what stands for ``T`` of :class:`PersistenceOptions` in *cls*, through bases that have type variables."""
    for base in getattr(cls, "__orig_bases__", ()) if "__orig_bases__" in cls.__dict__ else ():
        found = _argument_in(base)
        if isinstance(found, typing.ForwardRef):
            found = getattr(sys.modules.get(cls.__module__), found.__forward_arg__, None)
        if isinstance(found, type):
            return found
        if typing.get_origin(found) is not None:
            return typing.cast("type", typing.get_origin(found))  # a generic class of results: Result[int]
    for plain in cls.__bases__:
        inherited = _argument_of(plain)
        if inherited is not None:
            return inherited
    return None


def _argument_in(base: Any) -> Any:
    """Return what stands for ``T`` in the generic base *base*: a class, a type variable, or None."""
    origin = typing.get_origin(base)
    if origin is None or not issubclass(origin, PersistenceOptions):
        return None
    arguments = typing.get_args(base)
    if origin is PersistenceOptions:
        return arguments[0]
    parameters = getattr(origin, "__parameters__", ())
    for inner in getattr(origin, "__orig_bases__", ()):
        found = _argument_in(inner)
        if isinstance(found, TypeVar) and found in parameters:
            return arguments[parameters.index(found)]
    # A base of a client's own, "class Base(PersistenceOptions, Generic[T])": its one variable is meant.
    return arguments[0] if len(arguments) == 1 else None


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
        for name in getattr(opt_cls, "__annotations__", {}):
            if hasattr(ref, name):
                setattr(options, name, getattr(ref, name))
        options.invalid_cache = invalid_cache
    else:
        copy_argument(options, ref, invalid_cache=invalid_cache)
    return options.load_cache(error_when_missing=error_when_missing, **kwargs)
