"""The class that a user names, as ``module:Class`` or ``file.py:Class``, and what it says that files don't: units."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import typing
from typing import Any

from neuralib.persistence._classes.schema import INFO, PersistentClass, ensure_persistence_class
from neuralib.persistence._commands.entries import UsageError


def class_info(name: str) -> PersistentClass[Any]:
    """Return what is known of the persistence class *name*, which is imported: from here too, as ``python -m`` does.

    :raises UsageError: it can't be had
    """
    module_name, sign, class_name = name.rpartition(":")
    if not sign or not module_name or not class_name:
        raise UsageError(f"--class {name}: give it as module:Class (lab.results:Shuffle) or file.py:Class")
    try:
        found: Any = _module(module_name)
        for part in class_name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise UsageError(f"--class {name}: {type(error).__name__}: {error}") from error
    if not isinstance(found, type) or not hasattr(found, INFO):
        raise UsageError(f"--class {name}: it is no persistence class: decorate it with @persistence_class")
    return ensure_persistence_class(found)


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.insert(0, os.getcwd())
        return importlib.import_module(name)
    own_name = os.path.splitext(os.path.basename(name))[0]
    spec = importlib.util.spec_from_file_location(own_name, name)
    if spec is None or spec.loader is None or not os.path.isfile(name):
        raise FileNotFoundError(f"there is no file {name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(own_name, module)
    spec.loader.exec_module(module)
    return module


def units_of(info: PersistentClass[Any] | None) -> dict[str, str]:
    """Return by field what its annotation says beside the type: ``"Hz"`` for ``Annotated[np.ndarray, "Hz"]``."""
    units = {}
    for it in info.fields if info is not None else ():
        kind = it.field_type
        if typing.get_origin(kind) is typing.Annotated:
            texts = [part for part in typing.get_args(kind)[1:] if isinstance(part, str)]
            if texts:
                units[it.field_name] = ", ".join(texts)
    return units
