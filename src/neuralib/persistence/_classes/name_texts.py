"""Which texts can be part of a file name, and what to say of those that can't."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes import value_texts
from neuralib.persistence._classes.field import missing
from neuralib.persistence._errors import FieldDefinitionError, UnsafeNameError
from neuralib.persistence._log import is_first, log
from neuralib.persistence._messages import is_brief, shown

if TYPE_CHECKING:
    from neuralib.persistence._classes.field import PersistentField

START = "cache"
"""The start of the names of all results."""

MAX_NAME_BYTES = 255
"""The longest file name that common file systems take, in bytes (in UTF-16 units on Windows)."""

_WINDOWS = sys.platform == "win32"
_WINDOWS_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\.|$)", re.IGNORECASE)


class AnyText:
    """A value for a key that makes a name with a placeholder in the place of the key's text: see :func:`literals_of`.

    :param column: a number by which :func:`literals_of` tells placeholders apart
    :param absent: stand for a key that the name leaves out
    """

    __slots__ = ("text",)

    # Unicode's noncharacters, and the last private characters: no fixed text of a name contains them.
    _FIRST, _FIRST_OF_MORE, COUNT = 0xFDD0, 0x10FF00, 32

    def __init__(self, column: int = 0, *, absent: bool = False) -> None:
        first = self._FIRST if column < self.COUNT else self._FIRST_OF_MORE
        self.text: str | None = None if absent else chr(first + column)

    @classmethod
    def known(cls, text: str | None) -> AnyText:
        """Return a value whose text in a name is *text*; with None, the name leaves the key out."""
        found = cls()
        found.text = text
        return found


_PLACEHOLDERS = re.compile("([\ufdd0-\ufdef\U0010ff20-\U0010fffd])")


def literals_of(name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Split *name*, which was made with :class:`AnyText` as the values of keys.

    :return: the fixed texts, and the columns of the placeholders between them
    """
    parts = _PLACEHOLDERS.split(name)
    marks = [ord(character) for character in parts[1::2]]
    columns = [mark - (AnyText._FIRST if mark < AnyText._FIRST_OF_MORE else AnyText._FIRST_OF_MORE) for mark in marks]
    return tuple(parts[::2]), tuple(columns)


def problem_of(text: str) -> str | None:
    """Return why *text* can't be part of a file name on this machine, or None if it can."""
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
    """Raise an error if *text*, a fixed part of the names of the class *owner*, can't be part of a file name.

    :param what: the option that set the text, for the message
    :param portable: refuse also what other systems refuse in file names
    :raises FieldDefinitionError: it can't
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
    """Return the text of *value* in a name, without prefix; None if the name leaves the key out.

    :raises UnsafeNameError: *value* has no text that depends on it alone
    """
    if value is missing:
        return "*"
    if callable(declared.filename):
        value = declared.filename(value)
        if value is None:
            return None
    return made_text(declared, value)


def made_text(declared: PersistentField[Any], value: object) -> str:
    """Return the text of *value* in a name. All names are made by this function: see :mod:`value_texts`.

    :param value: the key's value, or what the ``filename=`` function of the key made of it
    :raises UnsafeNameError: *value* has no text that depends on it alone
    """
    try:
        text = value_texts.value_text(value)
    except value_texts.NoFixedTextError as error:
        raise UnsafeNameError(declared.owner_name, declared.field_name, shown(value), str(error)) from error
    if declared.portable:
        return value_texts.portable_text(text)
    if type(value) is not str and not _WINDOWS and not value_texts.UNPORTABLE.isdisjoint(text):
        _warn_unportable(declared, text)
    return text


def _warn_unportable(declared: PersistentField[Any], text: str) -> None:
    """Log, once for each class, that other systems refuse names with *text*."""
    owner = declared.owner
    if owner is None or not is_first(owner, "unportable"):
        return
    refused = ", ".join(repr(character) for character in sorted(value_texts.UNPORTABLE.intersection(text)))
    log.warning(
        "%s.%s = %s: Windows, SMB shares and cloud folders refuse file names with %s; "
        "@persistence_class(portable=True) encodes such characters, and filename= gives the key another text",
        owner.__qualname__,
        declared.field_name,
        text,
        refused,
    )


def has_text(declared: PersistentField[Any], value: object) -> bool:
    """Return whether *value*, which was read from a file, can be a key in a name.

    It can't where its kind has no text in names, or where its text would be too long to make: a value that refers to
    itself many times may have a text that fills the memory.
    """
    if value is None or isinstance(value, (str, float)) or (isinstance(value, int) and value.bit_length() < _MAX_BITS):
        return True  # the quick way for the most common kinds
    if type(value) in value_texts.FIXED_KINDS or callable(declared.filename):
        return True
    if not is_brief(value, max_chars=_MAX_CHARS):
        return False
    try:
        made_text(declared, value)
    except UnsafeNameError:
        return False
    return True


_MAX_CHARS = 64 * MAX_NAME_BYTES  # of all texts in a value whose text in a name is made
_MAX_BITS = 8 * MAX_NAME_BYTES  # of an int: Python's own limit for writing its digits is higher


def problem_of_whole(name: str) -> str | None:
    """Return why no file on this machine can have the name *name*, or None if one can."""
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
