"""The text of a key's value in file names: ``str(value)``, if that depends on the value alone.

Values whose ``str`` differs between processes or versions of numpy are written in one fixed way (sets, numpy scalars,
accents) or refused (objects whose text holds an address, arrays).
"""

from __future__ import annotations

import collections
import enum
import itertools
import re
import sys
import weakref
from collections.abc import Mapping, MappingView, Set as AbstractSet
from typing import TYPE_CHECKING, Any, Literal

from neuralib.persistence._messages import is_brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_PLAIN = frozenset({str, int, float, bool, type(None), complex, bytes})
_PLAIN_MODULES = frozenset({"datetime", "decimal", "fractions", "uuid", "pathlib", "pathlib._local"})
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{8,}")

FIXED_KINDS: set[type] = set()
"""Types, beside the builtin ones, whose ``str`` is fixed and has no ``:``. The core calls ``str`` for them by itself."""
_WITHOUT_COLON = frozenset({"date", "Decimal", "UUID"})
_MOST_FIXED_ENUMS = 256  # they are kept alive: a program may define classes again and again

UNPORTABLE = frozenset('<>:"\\|?*')
"""What Windows, SMB shares and folders of cloud services refuse in file names."""

_ENCODED = re.compile(r'[<>:"\\|?*/%\x00-\x1f\x7f]|[. ]\Z')
_ESCAPE = re.compile("%([0-9A-F]{2})")


class NoFixedTextError(ValueError):
    """A value has no text that depends on it alone. The argument says why."""


def value_text(value: Any) -> str:
    """Return the text of *value* in a file name, in the composed form of Unicode (NFC).

    :raises NoFixedTextError: it has none: the text would depend on the process or on settings
    """
    kind = type(value)
    try:
        if kind is str:
            text = value
        elif _is_fixed(kind):
            text = str(value)  # of nearly all
        else:
            text = _text(value, str, (), [_MOST_CHARS])
    except RecursionError:
        raise NoFixedTextError("it is nested too deeply to be written as text") from None
    except NoFixedTextError:
        raise
    except ValueError as error:  # an int of more digits than Python writes
        raise NoFixedTextError(f"it can't be written as text: {error}") from error
    return text if text.isascii() else composed(text)


def _is_fixed(kind: type) -> bool:
    """Return whether the text of each value of *kind* depends on it alone."""
    if kind in _PLAIN:
        return True
    if kind.__module__ not in _PLAIN_MODULES:
        return False
    if kind.__qualname__ in _WITHOUT_COLON:
        FIXED_KINDS.add(kind)
    return True


def composed(text: str) -> str:
    """Return *text* in the composed form of Unicode (NFC): 'é' as one character."""
    return text if text.isascii() else _normalized("NFC", text)


def decomposed(text: str) -> str:
    """Return *text* with accents as characters of their own (Unicode's NFD), as some systems write them."""
    return text if text.isascii() else _normalized("NFD", text)


def _normalized(form: Literal["NFC", "NFD"], text: str) -> str:
    import unicodedata  # not needed by most

    return unicodedata.normalize(form, text)


def former_texts(value: Any) -> set[str]:
    """Return texts that *value* had in names when these were made by ``str`` alone: of a small set, any order."""
    try:
        texts = {str(value)}
    except Exception:  # it had none
        return set()
    if type(value) in {set, frozenset} and 1 < len(value) <= _MOST_IN_ANY_ORDER:
        parts = [repr(part) for part in value]
        head, tail = ("{", "}") if type(value) is set else ("frozenset({", "})")
        texts.update(f"{head}{', '.join(order)}{tail}" for order in itertools.permutations(parts))
    return texts


_MOST_IN_ANY_ORDER = 4
_MOST_CHARS = 1 << 14


def portable_text(text: str) -> str:
    r"""Return *text* with each character that some system refuses in file names as ``%`` and two hexadecimal digits.

    These are ``<>:"/\|?*``, control characters, ``%`` itself, and a dot or space at the end.

    >>> portable_text("2023-01-01 12:30")
    '2023-01-01 12%3A30'
    """
    return _ENCODED.sub(lambda found: f"%{ord(found[0]):02X}", text)


def from_portable_text(text: str) -> str:
    """Return the text of which :func:`portable_text` made *text*."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def _text(value: Any, make: Callable[[object], str], outer: tuple[int, ...], left: list[int]) -> str:
    """Return ``make(value)``, made to depend on the value alone.

    :param make: ``str`` for a key, ``repr`` for what is inside it
    :param outer: the ids of the values that this one is inside of
    :param left: how many characters may still be written: a list may hold another one thousands of times
    """
    kind: Any = type(value)
    _take(left, len(value) if kind in {str, bytes} else 1)
    if _is_fixed(kind):
        text = make(value)
        _take(left, len(text))
        return text
    if isinstance(value, enum.Enum) and _is_fixed_member(kind, value):
        if kind not in _known_enums:
            _know_enum(kind)
        return make(value)
    numpy = sys.modules.get("numpy")  # without numpy loaded there are no scalars of it
    if numpy is not None and isinstance(value, numpy.generic):
        return _scalar_text(numpy, value, make)
    _refuse_array(value, make)
    container = _CONTAINERS.get(kind.__repr__)
    if container is not None and (make is repr or kind.__str__ is object.__str__):
        if id(value) in outer:
            return _PART_OF_ITSELF.get(kind.__repr__, "...")
        inner = (*outer, id(value))
        return container(value, lambda part: _text(part, repr, inner, left))
    return _object_text(value, make, outer, left)


def _take(left: list[int], count: int) -> None:
    left[0] -= count
    if left[0] < 0:
        raise NoFixedTextError("its text is longer than any file name")


def _is_fixed_member(kind: Any, value: Any) -> bool:
    return type(value._value_) in _PLAIN and kind.__repr__ in _ENUM_TEXTS and kind.__str__ in _ENUM_TEXTS


_known_enums: weakref.WeakSet[Any] = weakref.WeakSet()


def _know_enum(kind: Any) -> None:
    """Note in :data:`FIXED_KINDS` an Enum all of whose members have a text that is fixed and fits every system."""
    _known_enums.add(kind)
    makes_members = getattr(kind._missing_, "__func__", None) is not getattr(enum.Enum._missing_, "__func__", None)
    if issubclass(kind, enum.Flag) or makes_members:
        return  # there may be more of them than those that are declared
    members = kind.__members__.values()
    if len(FIXED_KINDS) < _MOST_FIXED_ENUMS and all(
        _is_fixed_member(kind, member) and portable_text(str(member)) == str(member) for member in members
    ):
        FIXED_KINDS.add(kind)


_ENUM_TEXTS: frozenset[Any] = frozenset(
    {enum.Enum.__repr__, enum.Enum.__str__, enum.IntEnum.__repr__, enum.IntEnum.__str__, object.__str__, str.__str__}
)


# ---------------------------------------------------------------------------------------------- containers


def _tuple_text(value: tuple[Any, ...], text: Callable[[Any], str]) -> str:
    parts = [text(part) for part in value]
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


def _list_text(value: list[Any], text: Callable[[Any], str]) -> str:
    return f"[{', '.join(text(part) for part in value)}]"


def _dict_text(value: dict[Any, Any], text: Callable[[Any], str]) -> str:
    return "{" + ", ".join(f"{text(key)}: {text(part)}" for key, part in value.items()) + "}"


def _ordered_dict_text(value: dict[Any, Any], text: Callable[[Any], str]) -> str:
    """Return the text that Python 3.11 gives. Later versions write the items as a dict."""
    items = ", ".join(f"({text(key)}, {text(part)})" for key, part in value.items())
    return f"{type(value).__name__}({f'[{items}]' if items else ''})"


def _set_text(value: set[Any] | frozenset[Any], text: Callable[[Any], str]) -> str:
    inner = ", ".join(_sorted_texts(value, text))
    name = type(value).__name__
    if not inner:
        return f"{name}()"
    return f"{{{inner}}}" if type(value) is set else f"{name}({{{inner}}})"


def _sorted_texts(values: Iterable[Any], text: Callable[[Any], str]) -> list[str]:
    """Return the texts of *values*: in the order of the numbers where all are numbers, of the texts otherwise."""
    pairs = [(value, composed(text(value))) for value in values]
    if all(_is_ordered_number(value) for value, _ in pairs):
        return [shown for _, shown in sorted(pairs)]
    return sorted(shown for _, shown in pairs)


def _is_ordered_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) or getattr(getattr(value, "dtype", None), "kind", "") in {"i", "u", "f"}
    return is_number and value == value  # noqa: PLR0124 - NaN has no place in an order


_CONTAINERS: dict[Any, Callable[[Any, Callable[[Any], str]], str]] = {
    tuple.__repr__: _tuple_text,
    list.__repr__: _list_text,
    dict.__repr__: _dict_text,
    collections.OrderedDict.__repr__: _ordered_dict_text,
    set.__repr__: _set_text,
    frozenset.__repr__: _set_text,
}
_PART_OF_ITSELF: dict[Any, str] = {tuple.__repr__: "(...)", list.__repr__: "[...]", dict.__repr__: "{...}"}


# ---------------------------------------------------------------------------------------------- numpy and its like


def _scalar_text(numpy: Any, value: Any, make: Callable[[object], str]) -> str:
    """Return the text of a scalar of numpy as numpy 1 writes it: ``0.1``, where numpy 2 has ``np.float64(0.1)``."""
    if isinstance(value, numpy.void) and value.dtype.names is not None:
        raise NoFixedTextError("the text of a record depends on numpy's print options")
    if isinstance(value, (numpy.number, numpy.bool_)) and not isinstance(value, numpy.timedelta64):
        FIXED_KINDS.add(type(value))
        return str(value)
    if make is str:
        return str(value)
    if isinstance(value, str):
        return str.__repr__(value)
    if isinstance(value, bytes):
        return bytes.__repr__(value)
    text = repr(value)
    if not text.startswith("np."):
        return text
    return text[3:] if isinstance(value, numpy.void) else f"numpy.{text[3:]}"


def _refuse_array(value: Any, make: Any) -> None:
    """Raise an error where *value* is an array or table of any library; ``str`` of an array without dimensions is fixed."""
    numpy = sys.modules.get("numpy")
    if _is_array(value) or (make is repr and numpy is not None and isinstance(value, numpy.ndarray)):
        raise NoFixedTextError("the text of an array depends on print options")


def _is_array(value: Any) -> bool:
    kind: Any = type(value)
    if hasattr(kind, "tocoo") or (hasattr(kind, "__array__") and kind.__module__.partition(".")[0] == "torch"):
        return True
    if not hasattr(kind, "__array__"):
        return False
    try:
        return len(getattr(value, "shape", ())) > 0 or len(value) >= 0
    except TypeError:  # it is a number
        return False


# ---------------------------------------------------------------------------------------------- other objects


def _object_text(value: Any, make: Any, outer: tuple[int, ...], left: list[int]) -> str:
    text: str = make(value)
    if isinstance(value, (str, type)):
        return text
    if _ADDRESS.search(text) or f"{id(value):x}" in text.lower() or str(id(value)) in text:
        raise NoFixedTextError("its text holds its address in memory, which is another one in every process")
    # Dataclasses, named tuples and the like write their parts by repr.
    for part in _parts(value):
        if type(part) in _PLAIN or id(part) in outer or not is_brief(part):
            continue
        text = _with_fixed_part(text, part, (*outer, id(value)), left)
    return text


def _with_fixed_part(text: str, part: Any, outer: tuple[int, ...], left: list[int]) -> str:
    """Return *text* with the fixed text of *part* in place of its own, where it has that in it."""
    try:
        shown = repr(part)
        if shown not in text and not (_is_array(part) and part.size > 0 and str(part) in text):
            return text
    except Exception:  # what can't be written is not written in the text
        return text
    return text.replace(shown, _text(part, repr, outer, left))


def _parts(value: Any) -> Iterator[Any]:
    """Yield what *value* consists of, as far as its kind tells."""
    yield from getattr(value, "__dict__", {}).values()
    for name in getattr(type(value), "__slots__", ()):
        if hasattr(value, name):
            yield getattr(value, name)
    if isinstance(value, Mapping):
        yield from value
        yield from value.values()
    elif isinstance(value, _WITH_MEMBERS):
        yield from value
    elif isinstance(value, slice):
        yield from (value.start, value.stop, value.step)
    elif isinstance(value, BaseException):
        yield from value.args


_WITH_MEMBERS: Any = (tuple, list, AbstractSet, MappingView, collections.deque)
