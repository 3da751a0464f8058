"""The functions of the compiled core in plain Python: to read, and to hold the core against."""

from __future__ import annotations

import os
import re
from typing import Any

from neuralib.persistence import KeyNotSetError, MissingFieldError, UnknownFieldError

MAX_DIGITS = 18


def as_dict(data: Any) -> dict[str, Any]:
    layout = type(data)._persistence_layout_
    return {name: getattr(data, name) for name in layout.names if hasattr(data, name)}


def new_from_dict(cls: type, values: dict[str, Any]) -> Any:
    layout = cls._persistence_layout_  # type: ignore[attr-defined]
    result = cls.__new__(cls)
    for name in layout.names:
        if name in values:
            setattr(result, name, values[name])
        elif name in layout.fallbacks:
            setattr(result, name, layout.fallbacks[name]())
        elif name in layout.required:
            raise MissingFieldError(cls.__qualname__, name)
    return result


def format_name(layout: Any, data: Any, overrides: dict[str, Any]) -> str:
    for name in overrides:
        if name not in layout.names:
            raise UnknownFieldError(layout.owner.__qualname__, name, layout.names)
    pieces = [layout.head]
    for name, lead, as_text in layout.parts:
        if name in overrides:
            value = overrides[name]
        elif hasattr(data, name):
            value = getattr(data, name)
        else:
            raise KeyNotSetError(layout.owner.__qualname__, name)
        if value is layout.wildcard:
            text = "*"
        elif type(value) is layout.any_text:
            text = value.text
        else:
            text = value if as_text is None else as_text(value)
        if text is not None or as_text is None:
            pieces += [lead, str(text)]
    return "".join(pieces)


def is_plain_name(text: str) -> bool:
    return os.name == "posix" and text.isascii() and len(text) <= 255 and "/" not in text and "\0" not in text


def match_name(name: str, literals: tuple[str, ...]) -> tuple[str, ...] | None:
    found = re.fullmatch("(.*?)".join(re.escape(it) for it in literals), name, re.DOTALL)
    return None if found is None else found.groups()


def scan_folder(folder, head, tail, leftover):
    """Of what str(int) writes between *head* and *tail*, at most 18 digits; and how many begin with *leftover*."""
    names = os.listdir(folder)
    pattern = re.escape(head) + f"(0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})" + re.escape(tail)
    found = [re.fullmatch(pattern, it, re.DOTALL) for it in names]
    leftovers = sum(it.startswith(leftover) and it != leftover for it in names)
    return max((int(it[1]) for it in found if it), default=-1), leftovers
