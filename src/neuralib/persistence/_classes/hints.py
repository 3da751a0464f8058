"""Read the annotations of a class body: as types if they can be resolved, as text otherwise."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from typing import Any, ClassVar

from neuralib.persistence._errors import FieldDefinitionError

if typing.TYPE_CHECKING:
    from collections.abc import Callable

_HEAD = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(?:\[(.*)\])?\s*\Z", re.DOTALL)


def annotations_of(cls: type) -> dict[str, Any]:
    """Return the annotations in the body of *cls*. Those that name something undefined are texts."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return late_annotations_of(cls, annotationlib)
    return dict(inspect.get_annotations(cls))


def late_annotations_of(cls: type, annotationlib: Any) -> dict[str, Any]:
    """Return the annotations of *cls* on Python 3.14 and later, which evaluate them on access.

    :param annotationlib: the module of the standard library
    """
    try:
        texts: dict[str, Any] = annotationlib.get_annotations(cls, format=annotationlib.Format.STRING)
    except Exception as error:  # an expression without names, such as 1 / 0, is evaluated even here
        return _texts_in_source(cls, error)
    try:
        known: dict[str, Any] = annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    except Exception:  # evaluating one of them raised
        return texts
    return {
        name: text if _has_forward_reference(known[name], annotationlib.ForwardRef) else known[name]
        for name, text in texts.items()
    }


def _texts_in_source(cls: type, error: Exception) -> dict[str, Any]:
    """Return the annotations as they are written in the source of *cls*.

    :raises FieldDefinitionError: the source is not available; *error* says why it is needed
    """
    import ast  # hardly ever needed
    import textwrap

    try:
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        raise FieldDefinitionError(
            cls.__qualname__, "", f"an annotation can't be evaluated ({error!r}): write it as text, in quotes"
        ) from error
    statements = body.body if isinstance(body, ast.ClassDef) else []
    return {
        statement.target.id: ast.unparse(statement.annotation)
        for statement in statements
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


def _has_forward_reference(annotation: Any, kind: type) -> bool:
    if isinstance(annotation, kind):
        return True
    return any(_has_forward_reference(part, kind) for part in _arguments(annotation))


def _arguments(annotation: Any) -> tuple[Any, ...]:
    if isinstance(annotation, list):  # the parameters of a Callable
        return tuple(annotation)
    return () if typing.get_origin(annotation) is typing.Literal else typing.get_args(annotation)


def resolver(cls: type) -> Callable[[Any], Any]:
    """Return a function that resolves an annotation of *cls* that is text. It returns the text if that fails."""

    def resolve(text: Any) -> Any:
        module = sys.modules.get(cls.__module__)
        try:
            return eval(text, dict(vars(module)) if module else {}, {**vars(cls), cls.__name__: cls})  # noqa: S307
        except Exception:  # an import under TYPE_CHECKING, a name of an enclosing function, ...
            return text

    return resolve


def is_class_var(cls: type, annotation: Any) -> bool:
    """Return whether *annotation* is a ``ClassVar``, under whatever name it was imported."""
    if not isinstance(annotation, str):
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        return annotation is ClassVar or typing.get_origin(annotation) is ClassVar
    found = _HEAD.match(annotation.strip("\"'"))
    if found is None:
        return False
    name, inner = found.groups()
    if name.rpartition(".")[2] == "ClassVar":  # maybe imported for type checkers alone
        return True
    meant = _named(cls, name)
    if meant is typing.Annotated and inner:
        return is_class_var(cls, inner.split(",", 1)[0])
    return meant is ClassVar or (meant is None and "." not in name and _is_renamed_class_var(cls, name))


def _is_renamed_class_var(cls: type, name: str) -> bool:
    """Return whether the source of the module imports ClassVar as *name*, for type checkers alone."""
    try:
        source = inspect.getsource(sys.modules[cls.__module__])
    except (KeyError, OSError, TypeError):  # of an interactive session
        return False
    return re.search(rf"\bClassVar\s+as\s+{name}\b", source) is not None


def named(cls: type, annotation: Any) -> Any:
    """Return the object that the text *annotation* names, without its arguments; other annotations unchanged."""
    if not isinstance(annotation, str):
        return annotation
    found = _HEAD.match(annotation)
    return annotation if found is None else _named(cls, found[1])


def _named(cls: type, dotted: str) -> Any:
    """Look up the name *dotted* in the class body, its module and the enclosing functions. Return None if it is not there."""
    first, *rest = dotted.split(".")
    module = sys.modules.get(cls.__module__)
    spaces = [vars(cls), vars(module) if module else {}]
    value = next((space[first] for space in spaces if first in space), None)
    if value is None and "<locals>" in cls.__qualname__:
        value = _local(first)
    for attribute in rest:
        value = getattr(value, attribute, None)
    return value


def _local(name: str) -> Any:
    """Return the value of the local variable *name* of the functions that run, the innermost first; or None."""
    frame = inspect.currentframe()
    while frame is not None:
        if name in frame.f_locals and frame.f_globals.get("__package__", "") != __package__:
            return frame.f_locals[name]
        frame = frame.f_back
    return None
