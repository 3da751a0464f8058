"""Which texts can be part of a file name, and what to say of those that can't."""

from __future__ import annotations

import logging
import os
import re
import sys
import weakref
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes import value_texts
from neuralib.persistence._classes.field import missing
from neuralib.persistence._errors import FieldDefinitionError, UnsafeNameError, is_brief, shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from neuralib.persistence._classes.field import PersistentField

MAX_NAME_BYTES = 255
"""The longest file name that common file systems take, in bytes (in UTF-16 units on Windows)."""

_WINDOWS = sys.platform == "win32"
_WINDOWS_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\.|$)", re.IGNORECASE)


class AnyText:
    """As the value of a key: a placeholder for any text in a name (see :func:`literals_of`), or, absent, for none.

    :param column: a number by which :func:`literals_of` tells placeholders apart
    """

    __slots__ = ("text",)

    # Noncharacters and the end of the private ones, which no fixed text of a name has.
    _FIRST, _FIRST_OF_MORE, COUNT = 0xFDD0, 0x10FF00, 32

    def __init__(self, column: int = 0, *, absent: bool = False) -> None:
        first = self._FIRST if column < self.COUNT else self._FIRST_OF_MORE
        self.text = None if absent else chr(first + column)


_PLACEHOLDERS = re.compile("([\ufdd0-\ufdef\U0010ff20-\U0010fffd])")


def literals_of(name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the fixed texts of *name*, which was made with :class:`AnyText` for keys, and the columns between them."""
    parts = _PLACEHOLDERS.split(name)
    marks = [ord(it) for it in parts[1::2]]
    columns = [it - (AnyText._FIRST if it < AnyText._FIRST_OF_MORE else AnyText._FIRST_OF_MORE) for it in marks]
    return tuple(parts[::2]), tuple(columns)


def problem_of(text: str) -> str | None:
    """Return what keeps *text* from being part of a file name on this machine, or None."""
    if "/" in text:
        return "it contains the path separator '/'"
    if "\0" in text:
        return "it contains a NUL character"
    if _WINDOWS:
        for character in text:
            if character in value_texts.UNPORTABLE or character < " ":
                return f"Windows file names can't contain {character!r}"
    return None


def refuse_fixed_text(owner: type, what: str, text: Any, *, portable: bool) -> None:
    """Raise an error where *text*, which the class itself gives to every name, can't be part of one.

    :param portable: of a portable one
    """
    if not isinstance(text, str):
        raise FieldDefinitionError(owner.__qualname__, "", f"{what} must be a str, not {shown(text)}")
    problem = problem_of(text)
    if problem is None and portable:
        refused = next(
            (character for character in text if value_texts.portable_text(character + "x")[0] != character), None
        )
        if refused is not None:
            problem = f"with portable=True, no name can contain {refused!r}"
    if problem is not None:
        raise FieldDefinitionError(owner.__qualname__, "", f"{what}{text!r} can't be part of a file name: {problem}")


def text_of(declared: PersistentField[Any], value: object) -> str | None:
    """Return the text that stands for *value* in a name, without prefix; None where the key is left out.

    :raises UnsafeNameError: it has no text that depends on the value alone
    """
    if value is missing:
        return "*"
    if callable(declared.filename):
        value = declared.filename(value)
        if value is None:
            return None
    return made_text(declared, value)


def made_text(declared: PersistentField[Any], value: object) -> str:
    """Return the text in a name of *value*: the key's, or what the ``filename=`` function of the key made of it.

    This decides for all: see :mod:`value_texts`.

    :raises UnsafeNameError: it has no text that depends on the value alone
    """
    try:
        text = value_texts.value_text(value)
    except value_texts.NoFixedTextError as error:
        raise UnsafeNameError(declared.owner_name, declared.field_name, shown(value), str(error)) from error
    if declared.portable:
        return value_texts.portable_text(text)
    if type(value) is not str and not _WINDOWS and not value_texts.UNPORTABLE.isdisjoint(text):
        _tell_unportable(declared, text)
    return text


_told: weakref.WeakSet[type] = weakref.WeakSet()
_log = logging.getLogger("neuralib.persistence")


def _tell_unportable(declared: PersistentField[Any], text: str) -> None:
    """Log, once for each class, that *text* makes names which other systems refuse."""
    owner = declared.owner
    if owner is None or owner in _told:
        return
    _told.add(owner)
    refused = ", ".join(repr(character) for character in sorted(value_texts.UNPORTABLE.intersection(text)))
    _log.warning(
        "%s.%s = %s: Windows, SMB shares and cloud folders refuse file names with %s; "
        "@persistence_class(portable=True) encodes such characters, and filename= gives the key another text",
        owner.__qualname__,
        declared.field_name,
        text,
        refused,
    )


def has_text(declared: PersistentField[Any], value: object) -> bool:
    """Return whether *value*, which a file holds, can be asked for its text in a name.

    It may refer to itself so often that its text would fill the memory; what is in a name is short. And it may be of a
    kind that no name can have.
    """
    if callable(declared.filename):
        return True
    if isinstance(value, (str, float)) or (isinstance(value, int) and value.bit_length() < _MAX_BITS):
        return True  # as most are, of many thousand results
    if not is_brief(value):
        return False
    try:
        made_text(declared, value)
    except UnsafeNameError:
        return False
    return True


_MAX_BITS = 8 * MAX_NAME_BYTES  # of an int whose digits are surely written: Python's own limit is higher


def problem_of_whole(name: str) -> str | None:
    """Return what keeps *name* from being the name of a file on this machine, or None."""
    problem = problem_of(name)
    if problem is not None:
        return problem
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError as error:
        return f"the character {name[error.start]!r} can't be written in the file system's encoding ({error.encoding})"
    if not name.isascii() and os.fsdecode(os.fsencode(name)) != name:
        return "its lone surrogates stand for bytes that would be read back as other characters"
    if _WINDOWS:
        size = len(name.encode("utf-16-le", "surrogatepass")) // 2
    if size > MAX_NAME_BYTES:
        return f"the file name would be {size} bytes long, and file systems take {MAX_NAME_BYTES} at the most"
    return _problem_on_windows(name) if _WINDOWS else None


def _problem_on_windows(name: str) -> str | None:
    if _WINDOWS_DEVICES.match(name):
        return "Windows takes it for a device, whatever the extension"
    if name.endswith((".", " ")):
        return f"Windows leaves out the {name[-1]!r} at its end"
    return None


def check_name(
    fields: Collection[PersistentField[Any]], owner: type, name: str, data: object, overrides: dict[str, Any]
) -> None:
    """Raise an error where *name*, made of the keys of *data* and *overrides*, can't be a file name.

    :raises UnsafeNameError: it names the key whose text is the cause, or the longest one of a name that is too long
    """
    problem = problem_of_whole(name)
    if problem is None:
        return
    values = {
        it.field_name: overrides.get(it.field_name, getattr(data, it.field_name, missing))
        for it in fields
        if it.filename
    }
    texts = {it.field_name: text_of(it, values[it.field_name]) or "" for it in fields if it.filename}
    # A wildcard's "*" is no text of a file, and never the cause.
    causes = {it: problem_of_whole(text) for it, text in texts.items() if values[it] is not missing}
    causes = {it: found for it, found in causes.items() if found is not None}
    if not causes and any(it is missing for it in values.values()):
        problem = problem_of_whole(name.replace("*", "_"))
        if problem is None:
            return
    same = [it for it, found in causes.items() if found == problem] or list(causes)
    cause = same[-1] if same else max(texts, key=lambda it: len(texts[it]), default="")
    raise UnsafeNameError(owner.__qualname__, cause, shown(values.get(cause, name)), problem)
