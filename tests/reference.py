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
            pieces += [lead, text if isinstance(text, str) and text.isascii() else layout.make_text(name, text)]
    return "".join(pieces)


def is_plain_name(text: str) -> bool:
    return os.name == "posix" and text.isascii() and len(text) <= 255 and "/" not in text and "\0" not in text


def read_names(names, patterns, width, wanted):
    """Rows ``(name, texts by column, doubtful)``: every way to read a name is tried."""
    rows = []
    for name in names:
        ways = [(columns, texts) for literals, columns in patterns for texts in every_way(name, literals)]
        if not ways:
            continue
        texts = [None] * width
        for column, text in zip(*ways[0], strict=True):
            texts[column] = text
        doubtful = len(ways) > 1
        if doubtful or all(it is None or it == text for it, text in zip(wanted, texts, strict=True)):
            rows.append((name, texts, doubtful))
    return rows


def text_of_plain(value: object) -> str | None:
    """The text in a name of a value for which nothing but its type decides; None for all others."""
    if type(value) is int:
        return str(value) if -(2**63) <= value < 2**63 else None
    return str(value) if type(value) in {str, float, bool, type(None)} else None


def agrees(texts: list[str], values: list[object]) -> bool:
    return all(text_of_plain(value) == text for text, value in zip(texts, values, strict=True))


def every_way(name: str, literals: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The texts between *literals* in *name*; first the way in which the first of them is shortest, and so on."""
    if len(literals) == 1:
        return [()] if name == literals[0] else []
    if not name.startswith(literals[0]):
        return []
    found, rest = [], name[len(literals[0]) :]
    for end in range(len(rest) + 1):
        if len(literals) > 2:
            found += [(rest[:end], *more) for more in every_way(rest[end:], literals[1:])]
        elif rest[end:] == literals[1]:
            found.append((rest[:end],))
    return found


def select(rows, texts, admitted, ranks):
    """Which rows are admitted, in the order of their ranks; a missing text comes first."""
    codes = [[-1 if it is None else texts[column].index(it) for column, it in enumerate(row[1])] for row in rows]
    good = [
        row
        for row, mine in enumerate(codes)
        if rows[row][2] or all(it is None or it[code + 1] for it, code in zip(admitted, mine, strict=True))
    ]
    counted = [column for column, it in enumerate(ranks) if it is not None]
    return sorted(good, key=lambda row: [-1 if codes[row][it] < 0 else ranks[it][codes[row][it]] for it in counted])


def rank_numbers(texts):
    if not all(re.fullmatch(f"0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}}", it) for it in texts):
        return None
    order = sorted(range(len(texts)), key=lambda it: int(texts[it]))
    return [order.index(it) for it in range(len(texts))]


def scan_folder(folder, head, tail, leftover):
    """Of what str(int) writes between *head* and *tail*, at most 18 digits; and how many begin with *leftover*."""
    names = os.listdir(folder)
    pattern = re.escape(head) + f"(0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})" + re.escape(tail)
    found = [re.fullmatch(pattern, it, re.DOTALL) for it in names]
    leftovers = sum(it.startswith(leftover) and it != leftover for it in names)
    return max((int(it[1]) for it in found if it), default=-1), leftovers
