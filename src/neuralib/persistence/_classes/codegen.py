"""Generate the methods of a class. Each is compiled once, with annotations, a docstring and source that debuggers show."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.convert import replaced
from neuralib.persistence._classes.field import missing
from neuralib.persistence._classes.schema import GENERATED, default_maker, ensure_persistence_class
from neuralib.persistence._classes.sources import keep_source, new_source_name
from neuralib.persistence._errors import PersistenceError, UndeclaredAttributeError
from neuralib.persistence._messages import printable, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuralib.persistence._classes.schema import PersistentClass

_INDENT = "    "
_MAX_KEY_CHARS = 1000


class _Names:
    """The names that a generated method uses. None of them is the name of a field."""

    def __init__(self, taken: list[str]) -> None:
        self._taken = set(taken)
        self.values: dict[str, Any] = {}

    def free(self, wish: str) -> str:
        """Return the name *wish*, with underscores before it if it is taken."""
        while wish in self._taken:
            wish = f"_{wish}"
        self._taken.add(wish)
        return wish

    def bind(self, wish: str, value: object) -> str:
        """Return a free name, as near to *wish* as can be, that means *value* in the method."""
        name = self.free(wish)
        self.values[name] = value
        return name


def make_init(info: PersistentClass[Any]) -> Callable[..., None]:
    """Return ``__init__``, which takes the keys. Required keys after a key with a default are keyword-only."""
    names = _Names(info.fields_name())
    me = names.free("self")
    parameters, body = [me], []
    annotations: dict[str, Any] = {}
    optional_seen = keyword_only = False
    for declared in info.key_fields():
        name = declared.field_name
        annotations[name] = declared._annotation
        value = name
        if declared.autoinc:
            default = "None"
        elif not declared.optional:
            default = ""
        elif (make := default_maker(declared)) is None:
            default = names.bind(f"default_{name}", declared.default)
        else:
            default = names.bind(f"unset_{name}", missing)
            value = f"{names.bind(f'make_{name}', make)}() if {name} is {default} else {name}"
        if optional_seen and not default and not keyword_only:
            # Python has no required positional parameter after an optional one; the order stays that of the class.
            parameters.append("*")
            keyword_only = True
        optional_seen = optional_seen or bool(default)
        parameters.append(f"{name}={default}" if default else name)
        body.append(f"{me}.{name} = {value}")
    annotations["return"] = None
    keys = ", ".join(declared.field_name for declared in info.key_fields()) or "none"
    return _compiled(info, names, "__init__", parameters, body, annotations, f"Make a result from its keys: {keys}.")


def make_str(info: PersistentClass[Any]) -> Callable[..., str]:
    """Return ``__str__``, which gives the file name without suffix."""
    names = _Names(info.fields_name())
    me = names.free("self")
    name_of, problem = names.bind("name_of", info.filename), names.bind("PersistenceError", PersistenceError)
    escaped = names.bind("printable", printable)
    body = ["try:", f"    return {escaped}({name_of}({me}))", f"except {problem}:", f"    return repr({me})"]
    doc = "Return the file name without suffix, control characters escaped; the repr where the keys don't make one."
    return _compiled(info, names, "__str__", [me], body, {"return": str}, doc)


def make_repr(info: PersistentClass[Any]) -> Callable[..., str]:
    """Return ``__repr__``, which shows the keys: short and printable whatever file they come from."""
    names = _Names(info.fields_name())
    me = names.free("self")
    body = [f"keys = {tuple(declared.field_name for declared in info.key_fields())!r}"]
    head, text = names.bind("class_name", info.cls_name), names.bind("key_text", _key_text)
    body.append(f"shown = (f\"{{key}}={{{text}(getattr({me}, key, '<not set>'))}}\" for key in keys)")
    body.append(f"return {head} + '{{' + ', '.join(shown) + '}}'")
    return _compiled(info, names, "__repr__", [me], body, {"return": str}, "Return the class and the keys, as text.")


def _key_text(value: object) -> str:
    return shown(value, str, _MAX_KEY_CHARS)


def make_replace(info: PersistentClass[Any]) -> Callable[..., Any]:
    """Return ``_replace``, which copies a result with some fields changed."""
    names = _Names(info.fields_name())
    me, changes = names.free("self"), names.free("changes")
    absent, copy_of = names.bind("missing", missing), names.bind("replaced", replaced)
    fields = info.fields
    parameters = [me, *(["*"] if fields else []), *(f"{declared.field_name}={absent}" for declared in fields)]
    body = [f"{changes} = {{}}"]
    for declared in fields:
        body += [
            f"if {declared.field_name} is not {absent}:",
            f"    {changes}[{declared.field_name!r}] = {declared.field_name}",
        ]
    body.append(f"return {copy_of}({me}, {changes})")
    annotations = {declared.field_name: declared._annotation for declared in fields}
    annotations["return"] = info.persistence_cls
    doc = "Return a copy with the given fields changed; the number of the copy is open unless it is given."
    return _compiled(info, names, "_replace", parameters, body, annotations, doc)


def make_setattr(info: PersistentClass[Any]) -> Callable[..., None]:
    """Return ``__setattr__`` of a strict class, which refuses names that the class does not declare."""
    cls = info.persistence_cls
    names = _Names([])
    inherited = written_setattr(cls)
    set_it, declared = names.bind("set_attribute", inherited), names.bind("declared", frozenset(info.fields_name()))
    refuse = names.bind("refuse", _refuse_undeclared)
    body = [
        f"if name not in {declared} and name[:1] != '_' and not hasattr(type(self), name):",
        f"    {refuse}(self, name)",
        f"{set_it}(self, name, value)",
    ]
    annotations = {"name": str, "value": object, "return": None}
    doc = "Set an attribute that the class declares."
    method = _compiled(info, names, "__setattr__", ["self", "name", "value"], body, annotations, doc)
    method.__wrapped__ = inherited  # type: ignore[attr-defined]
    return method


def written_setattr(cls: type) -> Callable[..., None]:
    """Return the ``__setattr__`` of *cls* that is not generated: its author's, a base's, or that of ``object``."""
    found: Callable[..., None] = cls.__setattr__
    while hasattr(found, GENERATED):
        found = found.__wrapped__  # type: ignore[attr-defined]
    return found


def _refuse_undeclared(result: object, name: str) -> None:
    """Raise an error, unless the class of *result* is a subclass that declares more, or is not strict."""
    info: PersistentClass[Any] = ensure_persistence_class(result)
    if not info.strict or info.get_field(name) is not None:
        return
    from neuralib.persistence._classes.losses import close_name  # only for the message

    meant = close_name(name, info.fields_name())
    raise UndeclaredAttributeError(info.persistence_cls.__qualname__, name, meant or "")


def _repr_html_(self: object) -> str:  # pyright: ignore[reportUnusedFunction] - attached to classes
    """Return the fields as a table, which notebooks show."""
    from neuralib.persistence._showing import html  # what only notebooks need

    return html.result_html(self)


def _compiled(
    info: PersistentClass[Any],
    names: _Names,
    name: str,
    parameters: list[str],
    body: list[str],
    annotations: dict[str, Any],
    doc: str,
) -> Callable[..., Any]:
    """Compile a method. Its source has only names that were checked to be identifiers; values are bound to names."""
    cls = info.persistence_cls
    source = f"def {name}({', '.join(parameters)}):\n" + textwrap.indent("\n".join(body or ["pass"]), _INDENT) + "\n"
    factory = names.free("make_method")
    outer = f"def {factory}({', '.join(names.values)}):\n{textwrap.indent(source, _INDENT)}{_INDENT}return {name}\n"
    title = f"{cls.__module__}.{cls.__qualname__}.{name}"
    file = new_source_name(title)
    space: dict[str, Any] = {"__name__": cls.__module__}
    exec(compile(outer, file, "exec"), space)  # noqa: S102
    method: Callable[..., Any] = space[factory](**names.values)
    method.__qualname__ = f"{cls.__qualname__}.{name}"
    method.__module__ = cls.__module__
    method.__doc__ = doc
    method.__annotations__ = annotations
    keep_source(file, title, outer, method)  # as long as the method lives: notebooks define a class many times
    return method
