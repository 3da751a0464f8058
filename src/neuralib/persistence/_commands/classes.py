"""The class of the option ``--class``, given as ``module:Class`` or ``file.py:Class``, and the units of its fields."""

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
    """Import a persistence class, and return its description.

    :param name: ``module:Class`` or ``file.py:Class``. Modules in the current folder can be imported, as with ``python -m``.
    :raises UsageError: the class can't be imported, or is not a persistence class
    """
    module_name, sign, class_name = name.rpartition(":")
    if not sign or not module_name or not class_name:
        raise UsageError(f"--class {name}: expected module:Class, such as lab.results:Shuffle, or file.py:Class")
    try:
        found: Any = _module(module_name)
        for attribute in class_name.split("."):
            found = getattr(found, attribute)
    except Exception as error:
        raise UsageError(f"--class {name}: {type(error).__name__}: {error}") from error
    if not isinstance(found, type) or not hasattr(found, INFO):
        raise UsageError(f"--class {name}: not a persistence class: decorate it with @persistence_class")
    return ensure_persistence_class(found)


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.insert(0, os.getcwd())
        return importlib.import_module(name)
    own_name = os.path.splitext(os.path.basename(name))[0]
    spec = importlib.util.spec_from_file_location(own_name, name)
    if spec is None or spec.loader is None or not os.path.isfile(name):
        raise FileNotFoundError(f"{name} does not exist")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(own_name, module)
    spec.loader.exec_module(module)
    return module


def units_of(info: PersistentClass[Any] | None) -> dict[str, str]:
    """Return the units of fields, which are the texts in their annotations: ``Annotated[np.ndarray, "Hz"]``."""
    units = {}
    for field in info.fields if info is not None else ():
        annotation = field.field_type
        if typing.get_origin(annotation) is typing.Annotated:
            texts = [extra for extra in typing.get_args(annotation)[1:] if isinstance(extra, str)]
            if texts:
                units[field.field_name] = ", ".join(texts)
    return units
