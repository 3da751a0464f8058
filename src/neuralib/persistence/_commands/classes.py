"""The class of the option ``--class``, given as ``module:Class`` or ``file.py:Class``."""

from __future__ import annotations

import importlib
import importlib.util
import operator
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.schema import INFO, PersistentClass, ensure_persistence_class
from neuralib.persistence._commands.entries import UsageError

if TYPE_CHECKING:
    import argparse


def class_asked_for(options: argparse.Namespace) -> PersistentClass[Any] | None:
    """Import the class of ``--class``, and return its description; None if the option is not given.

    Modules in the current folder can be imported, unless it is one of the folders that the command lists.

    :raises UsageError: the class can't be imported, or is not a persistence class
    """
    name = options.class_
    if not name:
        return None
    here = os.path.realpath(os.curdir)
    paths = options.paths or [os.curdir]
    importable = not any(_is_in(here, path, recursive=options.recursive) for path in paths)
    if importable and here not in sys.path:
        sys.path.append(here)  # last: a csv.py in it must not replace Python's own
    hint = "" if importable else "; modules in a folder that is listed are not imported: pass file.py:Class"
    found = imported(name, f"--class {name}", hint)
    if not isinstance(found, type) or not hasattr(found, INFO):
        raise UsageError(f"--class {name}: not a persistence class: decorate it with @persistence_class")
    return ensure_persistence_class(found)


def imported(name: str, asked: str, hint: str = "") -> Any:
    """Return the object *name*, ``module:Name`` or ``file.py:Name``.

    :param asked: what the user gave, for messages
    :param hint: what to do where it can't be imported
    :raises UsageError: it can't be imported
    """
    module_name, sign, attributes = name.rpartition(":")
    if not sign or not module_name or not attributes:
        raise UsageError(f"{asked}: expected module:Class, such as lab.results:Shuffle, or file.py:Class")
    try:
        return operator.attrgetter(attributes)(_module(module_name))
    except Exception as error:
        raise UsageError(f"{asked}: {type(error).__name__}: {error}{_place_in_module(error)}{hint}") from error


def _place_in_module(error: Exception) -> str:
    """Return the line of the user's own module that raised *error*, for a message; nothing where none was run."""
    own = {__file__, importlib.__file__}
    lines = [
        line
        for line in traceback.extract_tb(error.__traceback__)
        if line.filename not in own and line.filename[0] != "<"
    ]
    return f" ({lines[-1].filename}, line {lines[-1].lineno})" if lines else ""


def _is_in(here: str, path: str, *, recursive: bool) -> bool:
    """Return whether the folder *here* is the folder of *path*, or with *recursive* a subfolder of it."""
    folder = os.path.realpath(path if os.path.isdir(path) else os.path.dirname(path) or os.curdir)
    return here == folder or (recursive and here.startswith(os.path.join(folder, "")))


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    own_name = os.path.splitext(os.path.basename(name))[0]
    spec = importlib.util.spec_from_file_location(own_name, name)
    if spec is None or spec.loader is None or not os.path.isfile(name):
        raise FileNotFoundError(f"{name} does not exist")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(own_name, module)
    spec.loader.exec_module(module)
    return module
