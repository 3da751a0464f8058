"""Other packages: those whose objects are in a file, with their versions, and those that an extra of this one installs."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._forks import IMPORT, lock_for_forks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ALWAYS_THERE = sys.stdlib_module_names | {"__main__", "__mp_main__", "builtins"}
_OWN = "neuralib.persistence"

_importing = lock_for_forks(IMPORT)


def imported(module: str) -> Any:
    """Import and return *module*, which a save may need, so that forked processes can do that too.

    They could never import what another thread was importing. Once it is imported, no lock is needed.

    :raises ImportError: it is not installed, or can't be imported
    """
    found = sys.modules.get(module)
    if found is None or getattr(getattr(found, "__spec__", None), "_initializing", False):
        with _importing:
            return importlib.import_module(module)
    return found


def import_extra(module: str, extra: str, user: str) -> Any:
    """Import and return *module*, which *user* needs and the extra *extra* installs.

    :param user: the beginning of the message, as "a progress bar"
    :raises ImportError: it is not installed, or can't be imported
    """
    try:
        return imported(module)
    except ImportError as error:
        message = f'{user} needs {module}: pip install "neuralib-persistence[{extra}]" ({error})'
        raise ImportError(message, name=module) from error


def package_of(kind: type) -> tuple[str, str] | None:
    """Return the package of the class *kind*, and its version, an empty text where it has none.

    None for classes of Python itself and of scripts, for metaclasses, for what is no package but looks like one (of
    Cython's functions), and for the arrays, dtypes and scalars of numpy.
    """
    module = getattr(kind, "__module__", None)
    if type(module) is not str or issubclass(kind, type):
        return None
    top = module.partition(".")[0]
    if top in _ALWAYS_THERE or module.startswith(_OWN) or getattr(sys.modules.get(top), "__spec__", None) is None:
        return None
    if top == "numpy":
        numpy = sys.modules["numpy"]
        if issubclass(kind, (numpy.ndarray, numpy.generic, numpy.dtype)):
            return None
    return top, version_here(top) or ""


def version_here(package: str) -> str | None:
    """Return the version of *package* in this environment: an empty text where it has none, None where it is not installed.

    It is not imported.
    """
    if not _is_installed(package):
        return None
    version = getattr(sys.modules.get(package), "__version__", None)
    if type(version) is str:
        return version
    from importlib import metadata  # takes longer than most saves

    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return ""


def versions_here(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those of *packages* that are installed in this environment."""
    found = {package: version_here(package) for package in packages}
    return {package: version for package, version in found.items() if version is not None}


def missing_here(packages: Mapping[str, str]) -> list[str]:
    """Return those of *packages* that are not installed in this environment."""
    return [package for package in packages if not _is_installed(package)]


def _is_installed(package: str) -> bool:
    modules: dict[str, Any] = sys.modules
    if package in modules:
        return modules[package] is not None
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # no name of a package: the text is that of a file
        return False
